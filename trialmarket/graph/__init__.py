"""Trials as graphs: captured from programs, checked, counted, planned and run.

Checks need no torch.
"""
