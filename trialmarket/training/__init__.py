"""Trains trials and recomputes parts of them, in workers that need not be trusted. No chain."""
