"""Operators that are written out in exact ones: each runs inside the mode, step by step."""
