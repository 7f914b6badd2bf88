"""The command line: commands, their flags, and what parses them."""
