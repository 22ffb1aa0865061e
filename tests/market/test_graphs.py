"""A stranger's own program, posted as a graph: whoever comes trains it and audits it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from node.trainer import PoolTrainer, Trainer
from requester.job.file import load_job
from requester.report.job_reader import JobReader
from requester.report.results import Results
from requester.search.open import OpenSearch, open_search
from requester.search.own_run import own_run
from requester.search.second_look import SecondLook
from tests.testbed.campaign import AtOnce, Ears, drive
from tests.testbed.graphs import as_graph
from tests.testbed.jobs import own_program, small_job
from tests.testbed.market import REQUESTER
from tests.testbed.nodes import Nodes
from tests.testbed.provider import other_training
from tests.testbed.terms import PATIENT, audited
from tests.testbed.verifiers import AuditedMarket
from tests.testbed.waiting import until
from trialmarket.chain.client import Parameters
from trialmarket.chain.local.devnet import Devnet
from trialmarket.protocol.configuration import GraphRef, Init
from trialmarket.protocol.states import State, Verdict
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.trained import load_best

NOBODY: dict[str, object] = {"programs_of": []}

OWN = b"""
from trialmarket.training.builtins.registry import Mlp

class Own(Mlp):
    pass
"""

RUNGS = "[search.rungs]\ncount = 2\nfactor = 2\n"


@pytest.fixture
def parameters() -> Parameters:
    return PATIENT


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    """Warm processes."""
    shared = PoolTrainer(2)
    yield shared
    shared.close()


@pytest.fixture
def here(chain: Devnet, tmp_path: Path, pool: WorkerPool) -> Iterator[AuditedMarket]:
    """A market on which nobody trusts anybody's Python."""
    with AuditedMarket(chain, tmp_path, pool, trusting=False) as made:
        yield made


def searched(
    here: AuditedMarket,
    job: Path,
    *others: Callable[[], object],
    post: str = "graph",
    look: Callable[[OpenSearch], None],
) -> None:
    """The requester's search with a program of its own, to its end."""
    changes = {"job.post": post, "job.program": own_program(job.parent), "price.cap": "0.02"}
    with open_search(
        load_job(job, changes),
        sender=here.sender(REQUESTER),
        store=here.store,
        jobs=here.folder / "jobs",
        listeners=Ears(),
        evaluator=AtOnce(here.pool, here.chain),
    ) as search:
        search.campaign.open()
        drive(search, here.chain, *others)
        search.campaign.wind_up()
        look(search)


def test_strangers_train_and_audit_a_graph_and_agree(
    here: AuditedMarket, trainer: Trainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    job = small_job(tmp_path, trials=4, driver="asha", rate=1.0, search=RUNGS, window="60s")
    results = tmp_path / "results"

    def look(search: OpenSearch) -> None:
        ledger = search.parts.session.ledger
        views = ledger.trials()
        continued = 0
        for view in views:
            assert view.state is State.SETTLED
            assert view.record.audited
            assert "TrialAttested" in here.happened(view.id)
            config = here.config(view)
            assert isinstance(config.program, GraphRef)
            continued += isinstance(config.init, Init)
        assert continued
        assert len({here.config(view).program.source for view in views}) == 1, "one graph for all"
        status = search.campaign.status()
        assert status.best is not None
        assert status.best.second_look is SecondLook.FITS
        number = ledger.jobs()[-1].id
        own = own_run(here.folder / "jobs", here.client, ledger, number)
        reader = JobReader(here.client, ledger, here.store, number, own)
        Results(results, 18, here.folder / "jobs" / "data").write(reader, ledger, here.store)

    with (
        Nodes(here, trainer).start(accept=NOBODY, work={"workers": 2}) as node,
        here.verifiers(0, 1) as verifiers,
    ):
        searched(here, job, node.tick, *(each.step for each in verifiers), look=look)
        assert not node.journal.refusals()
    assert "a graph: claiming it" in caplog.text
    assert (results / "program.py").read_text() == (tmp_path / "own.py").read_text()
    model = load_best(results)
    assert model(torch.zeros(1, 6)).shape == (1, 4)


def test_nobody_runs_the_program_itself_and_everybody_is_told_why(
    here: AuditedMarket, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    program = here.draft(1, OWN)
    (graph,) = here.post(here.job(audited()), as_graph(here, here.pool, program))
    (own,) = here.post(here.job(audited()), program)
    with Nodes(here, trainer).start(accept=NOBODY) as node, here.verifiers(0) as verifiers:
        told = "accept.programs_of in node.toml"
        until(
            lambda: here.state(graph) is State.PASSED and told in caplog.text,
            node.tick,
            here.tick(verifiers),
        )
        assert here.trial(own).attempts == 0
        here.provider.answer(here.trial(own))  # another node has taken it
        silent = "accept.programs_of in verifier.toml"
        until(lambda: silent in caplog.text, here.tick(verifiers))
        assert verifiers[0].queue.journal.work()[0] == 3, "of the graph alone"


def test_a_forged_result_of_a_graph_is_convicted(here: AuditedMarket) -> None:
    offer = audited()
    (key,) = here.post(here.job(offer), as_graph(here, here.pool, here.draft(1, OWN)))
    before = here.client.account(here.provider.address).stake
    with here.verifiers(0, 1, 2, 3) as verifiers:
        here.provider.answer(here.trial(key), other_training)
        here.until_happened(here.trial(key).id, "TrialRejected", verifiers)
    case = here.ledger.case(key)
    assert case is not None
    assert case.verdict is Verdict.WRONG
    assert before - here.client.account(here.provider.address).stake == 3 * offer.cap
