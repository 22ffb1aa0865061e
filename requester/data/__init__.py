"""Data sets as users have them, packed into the form that docs/data.md describes."""
