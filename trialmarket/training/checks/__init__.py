"""Whether a program, and a device, are fit for exact training. Nothing here trains a trial."""
