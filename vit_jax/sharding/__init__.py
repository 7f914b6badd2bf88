"""How arrays are sharded over devices: the mesh, the rules, the placement."""
