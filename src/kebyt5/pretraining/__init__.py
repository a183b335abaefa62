"""From byte shards to a pretrained model."""
