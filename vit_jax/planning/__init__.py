"""Memory, traffic and cost of a run, compiled ahead of time."""
