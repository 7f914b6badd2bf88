"""The papers' numbers, and how to reproduce each one."""
