"""How arrays are spread over devices: the mesh, the rules, the placing."""
