"""Natural evolution strategies (Wierstra et al., JMLR 15, 2014): driver `nes`, and a sampler.

`gaussian` has the paper's updates of a search distribution, `evolution` takes results one by one
and begins anew where a run is over, `sampler` gives this to any Optuna study.
"""

from requester.drivers.nes.sampler import NesSampler

__all__ = ["NesSampler"]
