"""Configurations, models, tokenizer and conversion; imports nothing else of kebyt5."""
