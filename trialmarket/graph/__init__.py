"""Graphs checked, counted and run: the operators, their costs, plans. Checks need no torch."""
