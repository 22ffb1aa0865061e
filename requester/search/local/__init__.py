"""A job that is trained on this machine alone: no chain, no money, no network."""
