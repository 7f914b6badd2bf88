"""The training run and its components."""
