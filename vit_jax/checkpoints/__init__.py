"""A run's own checkpoints: orbax state, manifests and digests."""
