"""Weights of one byte each, and what they cost in score."""
