"""What surrounds a run: signals, watchdog, lock, log, other processes."""
