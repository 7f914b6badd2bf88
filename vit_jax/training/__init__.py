"""The training run, and what it is put together from."""
