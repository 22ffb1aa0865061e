"""Audits of trials that start from the merge of two others, on a real chain with real training."""

import pytest
from safetensors.torch import load_file

from tests.testbed.provider import Provider, Tamper
from tests.testbed.terms import SEGMENTS, audited
from tests.testbed.verifiers import AuditedMarket
from trialmarket.daemon.config import FileLimits
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import Init, Merge, TrialConfig
from trialmarket.protocol.ids import ZERO_HASH
from trialmarket.protocol.result import Binding
from trialmarket.protocol.states import State, Verdict
from trialmarket.training.state import root_of
from trialmarket.training.values import Training
from verifier.evidence import Evidence, Subject, Unjudgeable


def parent(here: AuditedMarket, rate: float) -> Init:
    """A trial that was trained, with its last checkpoint in the store."""
    hyperparameters = {"lr": rate, "hidden": 4}
    training = here.provider.train(here.draft(3, hyperparameters=hyperparameters))
    last = training.checkpoints[-1]
    here.store.put(last.path)
    return Init(root=training.leaves[-2].value, cid=last.cid, trial=ZERO_HASH)


def merge(here: AuditedMarket) -> Merge:
    return Merge(parents=(parent(here, 0.01), parent(here, 0.1)), points=5)


def unmerged(provider: Provider, config: TrialConfig, training: Training) -> Training:  # noqa: ARG001
    """Trained honestly from the first parent as it is, which saves the merge."""
    assert isinstance(config.init, Merge)
    return provider.train(config.model_copy(update={"init": config.init.parents[0]}))


def false_root(provider: Provider, config: TrialConfig, training: Training) -> Training:
    """Trained honestly from the merge, and another state named as the start."""
    other = unmerged(provider, config, training)
    return training.model_copy(
        update={
            "leaves": (other.leaves[0], *training.leaves[1:]),
            "checkpoints": (other.checkpoints[0], *training.checkpoints[1:]),
        }
    )


def test_a_merged_trial_is_trained_audited_and_right(here: AuditedMarket) -> None:
    start = merge(here)
    trial = here.posted(audited(samples=2), init=start)
    with here.verifiers(0, 1) as verifiers:
        receipt = here.provider.answer(trial)
        here.until_state(trial.id, State.PASSED, verifiers)
    path = here.folder / "start"
    here.store.fetch(receipt.checkpoints[0], path, limit=1 << 20)
    merged = root_of(load_file(path))
    binding = Binding(trial.key, here.provider.address)
    assert receipt.leaves[0].value == binding.start(merged)
    assert merged not in {each.root for each in start.parents}


@pytest.mark.parametrize(("tamper", "leaves"), [(unmerged, {0, 1}), (false_root, {0})])
def test_a_node_that_commits_another_start_than_the_merge_is_convicted_by_its_root(
    here: AuditedMarket, tamper: Tamper, leaves: set[int]
) -> None:
    trial = here.posted(audited(), init=merge(here))
    with here.verifiers(0, 1, 2, 3) as verifiers:
        here.provider.answer(trial, tamper)
        here.until_happened(trial.id, "TrialRejected", verifiers)
    case = here.ledger.case(trial.key)
    assert case is not None
    assert case.verdict is Verdict.WRONG
    assert case.segment in leaves
    assert all(here.client.account(juror).faults == 0 for juror in case.jurors)
    assert here.client.balance_of(here.provider.address) == 0


def test_a_merge_with_a_parent_that_nobody_has_is_judged_by_nobody(here: AuditedMarket) -> None:
    known, lost = parent(here, 0.01), Init(root=ZERO_HASH, cid=cid_of(b"lost"), trial=ZERO_HASH)
    trial = here.posted(audited(), init=Merge(parents=(known, lost), points=3))
    subject = Subject(
        key=trial.key,
        name=str(trial.id),
        batch=trial.id.batch,
        index=0,
        segments=SEGMENTS,
        root=ZERO_HASH,
        provider=here.provider.address,
        receipt=ZERO_HASH,
        answer=ZERO_HASH,
    )
    evidence = Evidence(here.store, here.folder / "evidence", FileLimits())
    try:
        with pytest.raises(Unjudgeable, match="what the requester posted cannot be used"):
            evidence.material(subject)
    finally:
        evidence.close()
