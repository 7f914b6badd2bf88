"""Names of parameters in every format; a file for each family of models."""
