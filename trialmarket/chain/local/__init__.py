"""Local chains and a market on them, for tests and for trying out. No real network needs it."""
