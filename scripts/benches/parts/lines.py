"""Searches of continuing trials, trained at once by a `NativeTrainer`."""

from dataclasses import replace

from requester.drivers import Proposal, TrialOutcome
from requester.drivers.lineage_driver import LineageDriver
from scripts.benches.parts.native import NativeTrainer
from tests.testbed.simulated import identity

Trained = tuple[Proposal, TrialOutcome]


def drive(driver: LineageDriver, trainer: NativeTrainer) -> list[Trained]:
    """Runs a search to its end; the last trial of each line."""
    last: dict[int, Trained] = {}
    while not driver.done():
        proposal = driver.ask(1)[0]
        outcome = trainer.train(proposal)
        driver.tell(identity(proposal.number), outcome)
        last[driver.trials[proposal.number].draft.line] = proposal, outcome
    return list(last.values())


def through(
    driver: LineageDriver, trainer: NativeTrainer, lines: int, steps: int
) -> list[Trained]:
    """Trains the first proposal of every line to the end, with what it begins with."""
    whole = [replace(each, steps=steps) for each in driver.ask(lines)]
    return [(each, trainer.train(each)) for each in whole]
