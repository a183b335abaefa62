"""Metrics as pure functions over parsed predictions."""
