"""Evaluating a checkpoint on a data file: predictions, scores, plots."""
