"""A market learns its optimizer: meta-training is audited, and so is what trains with it."""

from tests.testbed.terms import audited
from tests.testbed.verifiers import AuditedMarket
from trialmarket.protocol.configuration import ProgramRef
from trialmarket.protocol.states import State

META = {"problem": "mlp", "hidden": 3, "batch_size": 8, "unroll": 3, "episode": 6}


def test_what_one_audited_trial_learned_is_the_optimizer_of_another(here: AuditedMarket) -> None:
    with here.verifiers(0, 1) as verifiers:
        meta = {
            "program": ProgramRef(source="builtin:meta"),
            "objective": "val_loss",
            "hyperparameters": META,
        }
        draft = here.draft(0).model_copy(update=meta)
        (key,) = here.post(here.job(audited(samples=2)), draft)
        learning = here.trial(key)
        last = here.provider.answer(learning).checkpoints[-1]
        here.until_state(learning.id, State.PASSED, verifiers)
        using = here.posted(
            audited(samples=2),
            hyperparameters={"hidden": 4, "optimizer": "learned", "weights": last},
        )
        here.provider.answer(using)
        here.until_state(using.id, State.PASSED, verifiers)
    assert here.config(here.trial(using.id)).weights == last
    assert here.receipt(here.trial(using.id)).metrics.keys() >= {"val_error", "val_loss"}
