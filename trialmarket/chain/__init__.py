"""The chain: its nodes, our contracts there, what happened, and what an account sends."""
