"""Configurations, models, tokenizer, conversion; imports nothing else of kebyt5 but errors."""
