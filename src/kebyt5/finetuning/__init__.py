"""Fine-tuning a checkpoint on a task."""
