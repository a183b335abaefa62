"""Fine-tunes checkpoints on tasks."""
