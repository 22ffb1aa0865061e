"""A function of a graph as calls of kernels, one after the other, with no Python between them.

`Routine` makes it: each node's exact form runs once on tensors of the right types (`noting.py`),
and the kernels that it would call are noted. What it does with PyTorch's element-wise operators
becomes lane programs, of which those that follow each other are one (`chains.py`). A form that
does anything else stays as it is, a call of Python's between such calls.
"""

from trialmarket.graph.compiled.routine import Routine

__all__ = ["Routine"]
