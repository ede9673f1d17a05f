"""What a sampler really drew: the false-negative meter and its companions."""
