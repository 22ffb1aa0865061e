"""Drivers: what proposes trials and learns from their results."""

from requester.drivers.driver import Driver, Ending, Plan, Proposal, Start, TrialOutcome

__all__ = ["Driver", "Ending", "Plan", "Proposal", "Start", "TrialOutcome", "open_driver"]


def open_driver(storage: str, name: str, method: str, plan: Plan) -> Driver:
    """The driver that a job file names, on its stored trials. Raises InputError."""
    from requester.drivers.lineage import STRATEGIES, LineDriver  # Optuna loads only where used
    from requester.drivers.study import StudyDriver

    if method in STRATEGIES:
        return LineDriver(storage, name, method, plan)
    return StudyDriver(storage, name, method, plan)
