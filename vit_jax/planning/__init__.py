"""What a run costs on devices elsewhere, by their compilers."""
