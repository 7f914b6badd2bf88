"""The paper's questions at a size that a CPU answers."""
