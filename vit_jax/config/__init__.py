"""What can be set about a run: schema, overrides, recipes, grids."""
