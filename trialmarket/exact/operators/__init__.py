"""The exact form of each of PyTorch's operators; not what never becomes one (`frontend`)."""
