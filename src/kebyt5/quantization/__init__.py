"""Quantizes models to int8 and measures what it costs in score."""
