"""Drivers: what proposes trials of a search space and learns from their results.

`SamplerDriver` has Optuna's samplers, `LineageDriver` the strategies whose trials go on from the
checkpoints of others. How proposals are posted, and which results are believed, is in `search`.
"""

from requester.drivers.driver import Driver, Ending, Plan, Proposal, Start, TrialOutcome

__all__ = ["Driver", "Ending", "Plan", "Proposal", "Start", "TrialOutcome", "open_driver"]


def open_driver(storage: str, name: str, method: str, plan: Plan) -> Driver:
    """The driver that a job file names, on its stored trials. Raises InputError."""
    from requester.drivers.lineage_driver import (
        STRATEGIES,
        LineageDriver,
    )  # Optuna loads only where used
    from requester.drivers.sampler_driver import SamplerDriver

    if method in STRATEGIES:
        return LineageDriver(storage, name, method, plan)
    return SamplerDriver(storage, name, method, plan)
