"""A checkpoint as a service, and as something to look at."""
