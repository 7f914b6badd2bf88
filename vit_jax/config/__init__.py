"""The configuration of a run: schema, overrides, recipes, grids."""
