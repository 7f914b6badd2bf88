"""Layers: what the models are made of."""
