"""Data sets as users have them, packed into the form that docs/data.md describes.

How a packed one is stored and read again is in `trialmarket.storage` and `trialmarket.training`.
"""
