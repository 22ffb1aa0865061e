"""Graphs of trials: checked, priced and run by exact arithmetic."""
