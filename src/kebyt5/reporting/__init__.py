"""From the folders of runs to a report that people read."""
