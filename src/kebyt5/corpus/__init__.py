"""Text on its way to pretraining: cleaned, without duplicates, as byte shards."""
