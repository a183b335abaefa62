"""Settings, schedules, devices and checkpoints, which pretraining and fine-tuning share."""
