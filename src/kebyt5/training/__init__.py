"""What pretraining and fine-tuning share: settings, schedules, devices, checkpoints."""
