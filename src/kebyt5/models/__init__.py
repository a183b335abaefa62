"""What a checkpoint is: configurations, models, tokenizer, conversion. Needs no other kebyt5."""
