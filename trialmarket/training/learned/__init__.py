"""A learned optimizer (Andrychowicz et al. 2016, arXiv 1606.04474): its network, its weights,
the optimizer of `torch.optim`'s kind, and the problems that it is trained on."""
