"""The paper's comparisons at a size that fits a CPU."""
