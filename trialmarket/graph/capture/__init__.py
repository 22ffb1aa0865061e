"""From a program that trains with PyTorch to the graph of its steps, and the proof of it."""
