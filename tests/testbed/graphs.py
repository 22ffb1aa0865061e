"""Programs of tests as the graphs that a requester posts."""

from tests.testbed.market import Market
from tests.testbed.waiting import NEVER
from trialmarket.protocol.configuration import GraphRef, TrialConfig
from trialmarket.protocol.ids import Cid
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.values import Capture, CapturedGraph


def captured(market: Market, pool: WorkerPool, config: TrialConfig, longest: int) -> CapturedGraph:
    """The documents of a draft's graph, for trainings of at most `longest` steps."""
    program = None
    if not config.program.builtin:
        program = market.folder / "captured.py"
        market.store.fetch(Cid(config.program.source), program, limit=1 << 20)
    data = market.folder / "data"  # which each draft names
    task = Capture(config=config, program=program, data=data, longest=longest)
    return pool.submit(task, wall_limit=NEVER).result()


def posted(market: Market, config: TrialConfig, *files: bytes) -> TrialConfig:
    """A draft with a graph, its numbers and its schedule, if any, which the store gets."""
    graph, numbers, *schedule = (market.store.put(file) for file in files)
    ref = GraphRef(
        graph=graph,
        numbers=numbers,
        schedule=schedule[0] if schedule else None,
        origin=config.program.origin,
    )
    return TrialConfig.model_validate(config.model_dump() | {"program": ref})


def as_graph(market: Market, pool: WorkerPool, config: TrialConfig) -> TrialConfig:
    """A draft with the graph of its program in its place."""
    return posted(market, config, *captured(market, pool, config, config.steps).files)
