"""Learning-rate schedules, rules per parameter, and optimisers."""
