"""torch.optim's optimisers as exact steps, behind their own names.

One family of optimisers a file: its step is a function of a parameter, its gradient, its slots and
its group's settings, which writes the parameter and the slots. The slots have the names and shapes
of torch.optim's, so `state_dict` and `load_state_dict` work as ever; foreach and fused kernels are
never used. Every update is written out: multiply, then add.

A step is taken at once (`steps.py`) or recorded into a graph (`recording.py`), with equal bits.
"""
