"""The Vision Transformer in JAX and Flax (arXiv 2010.11929)."""

__version__ = '0.1.0'
