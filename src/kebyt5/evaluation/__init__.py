"""From a checkpoint and a data file to scores and a predictions file."""
