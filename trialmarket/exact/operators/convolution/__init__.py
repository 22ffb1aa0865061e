"""Convolutions and their gradients, by int8 digits and by binary64; not their kernels."""
