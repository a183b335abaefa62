"""From input texts to output texts."""
