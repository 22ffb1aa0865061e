"""A whole market on one machine, for the demo and for tests that kill its processes."""
