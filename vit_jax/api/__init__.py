"""The Python interface: what `import vit_jax` offers, each from its module."""
