"""What is inside a model: the figures of the ViT paper."""
