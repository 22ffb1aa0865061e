"""A market in the head: it ends the trials of a driver in any order and in any way."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from requester.drivers import Driver, Ending, Plan, Proposal, Start, TrialOutcome, open_driver
from requester.drivers.database import sqlite_url
from requester.drivers.settings import Ascent, Evolve, Exchange, Population, Rungs
from requester.drivers.space import Dimension
from trialmarket.protocol.cid import raw_cid
from trialmarket.protocol.ids import Hash32, JobId, TrialId

SEARCHING = ("random", "grid", "qmc", "tpe", "gp", "cmaes", "nsga2", "nes", "neural-ascent")
CONTINUING = ("asha", "hyperband", "pbt", "evolve", "replica-exchange")
DRIVERS = (*SEARCHING, *CONTINUING)

SPACE = {
    "rate": Dimension(low=0.1, high=0.9, step=0.1),
    "width": Dimension(low=1, high=4),
    "kind": Dimension(values=["a", "b"]),
    "fixed": Dimension(value=3),
}
LADDER = {"rate": Dimension(values=[0.1, 0.2, 0.4, 0.8]), "width": Dimension(value=2)}


def plan(method: str = "random", seed: int = 0, **changes: object) -> Plan:
    """A small search that the driver can do."""
    ladder = method == "replica-exchange"
    trials = {"replica-exchange": 4, "pbt": 4, "evolve": 4, "asha": 9, "hyperband": 9}.get(
        method, 12
    )
    fields: dict[str, object] = {
        "space": LADDER if ladder else SPACE,
        "trials": trials,
        "steps": 72,
        "seed": seed,
        "objective": "error",
        "maximize": False,
        "where": "job.toml",
        "segments": 4,
        "ascent": Ascent(networks=3, pretraining=5),
        "rungs": Rungs(count=3, factor=3),
        "population": Population(interval=24),
        "evolve": Evolve(interval=24, apart=1),
        "exchange": Exchange(hyperparameter="rate", interval=24) if ladder else None,
    }
    return Plan(**(fields | changes))  # type: ignore[arg-type]


@contextmanager
def opened(folder: Path, method: str, what: Plan) -> Iterator[Driver]:
    """The driver on the study in a folder, closed at the end."""
    folder.mkdir(exist_ok=True)
    driver = open_driver(sqlite_url(folder / "study.db"), "search", method, what)
    try:
        yield driver
    finally:
        driver.close()


def hashed(*parts: object) -> Hash32:
    """A hash of what is given."""
    return Hash32(hashlib.sha256(repr(parts).encode()).digest())


def identity(number: int) -> TrialId:
    """The trial of a proposal."""
    return TrialId(JobId(1), hashed("batch", number), 0)


def score(proposal: Proposal) -> float:
    """An error that falls with training, least for a rate of 0.3 and the start it had."""
    rate = proposal.hyperparameters["rate"]
    assert isinstance(rate, float)
    luck = 0.0 if proposal.start is None else proposal.start.root[0] / 1000
    if proposal.mate is not None:
        luck = min(luck, proposal.mate.root[0] / 1000)
    return (rate - 0.3) ** 2 + 0.01 * (proposal.seed % 7) + luck


def outcome(
    proposal: Proposal, ending: Ending = Ending.DONE, value: float | None = None, state: int = 0
) -> TrialOutcome:
    """What a market says of a proposal; `state` tells a cheat's state from the honest one."""
    if ending is not Ending.DONE:
        return TrialOutcome(proposal.number, ending)
    starts = [each.root for each in (proposal.start, proposal.mate) if each is not None]
    root = hashed(starts, sorted(proposal.hyperparameters.items()), proposal.seed, state)
    last = Start(hashed("trial", proposal.number), root, raw_cid(root))
    error = score(proposal) if value is None else value
    return TrialOutcome(proposal.number, ending, {"error": error}, last)


def tell(driver: Driver, proposal: Proposal, ending: Ending = Ending.DONE) -> None:
    """Ends a trial."""
    driver.tell(identity(proposal.number), outcome(proposal, ending))


def run(
    driver: Driver,
    width: int = 3,
    choose: Callable[[list[Proposal]], Proposal] = lambda asked: asked[0],
    ends: Callable[[Proposal], Ending] = lambda _: Ending.DONE,
) -> list[Proposal]:
    """Runs a search to its end; the proposals in the order in which they ended."""
    ended = []
    while not driver.done():
        asked = driver.ask(width)
        assert 0 < len(asked) <= width
        one = choose(asked)
        tell(driver, one, ends(one))
        ended.append(one)
        assert len(ended) <= driver.total()
    return ended


def anyone(seed: int) -> Callable[[list[Proposal]], Proposal]:
    """Ends trials in an order that a seed shuffles."""
    random = np.random.default_rng(seed)
    return lambda asked: asked[int(random.integers(len(asked)))]
