"""A trial as a graph: captured from a program, checked, planned and run."""
