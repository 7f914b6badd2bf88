"""The runtime of a run: signals, watchdog, lock, log, other processes."""
