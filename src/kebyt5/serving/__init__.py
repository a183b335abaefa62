"""Models behind HTTP: the app, its engines, Ray Serve."""
