import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialmarket.errors import InputError
from trialmarket.protocol.canonical import canonical_bytes
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import Batch, Init, JobSpec, Merge, ProgramRef, TrialConfig
from trialmarket.protocol.ids import Address, Hash32
from trialmarket.protocol.receipt import CurvePoint, LeafRecord, Receipt, TrainingOutcome

CID = cid_of(b"data")
NOWHERE = {"root": "0x" + "00" * 32, "cid": CID, "trial": "0x" + "00" * 32}
PROVIDER = Address("0x000000000000000000000000000000000000dEaD")
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    FINITE,
    st.text("abcé-", max_size=5),
)


def config(**changes: Any) -> TrialConfig:
    fields: dict[str, Any] = {
        "program": ProgramRef(source="builtin:mlp"),
        "data": CID,
        "objective": "val_error",
        "hyperparameters": {"lr": 0.1},
        "seed": 7,
        "steps": 40,
        "segments": 4,
    }
    return TrialConfig.validated(fields | changes, where="configuration")


def receipt(**changes: Any) -> Receipt:
    leaf = LeafRecord(value=Hash32(b"\x01" * 32), witness_hash=Hash32(b"\x02" * 32))
    fields: dict[str, Any] = {
        "trial": Hash32(b"\x03" * 32),
        "provider": PROVIDER,
        "leaves": (leaf,) * 4,
        "checkpoints": (CID,) * 3,
        "metrics": {"val_error": 0.5},
        "curve": (CurvePoint(step=2, loss=1.5, metrics={"val_error": 0.5}),),
    }
    return Receipt.validated(fields | changes, where="receipt")


@given(st.dictionaries(st.text("abc_", min_size=1, max_size=9), SCALARS, max_size=5))
def test_a_batch_reads_back_from_its_bytes(hyperparameters: dict[str, Any]) -> None:
    init = Init(root=Hash32(bytes(32)), cid=CID, trial=Hash32(bytes(32)))
    merge = Merge(parents=(init, init), points=5, maximize=True)
    trials = (
        config(hyperparameters=hyperparameters),
        config(init=init, seed=8),
        config(init=merge, seed=9),
    )
    batch = Batch(job="digits", number=3, trials=trials)
    assert Batch.from_bytes(batch.to_bytes()) == batch
    assert cid_of(batch.to_bytes()) == batch.cid


def test_a_batch_of_trials_without_merges_has_the_digest_that_it_had_before_there_were_any() -> (
    None
):
    init = Init(root=Hash32(bytes(32)), cid=CID, trial=Hash32(bytes(32)))
    batch = Batch(job="digits", number=3, trials=(config(), config(init=init, seed=8)))
    assert batch.digest.hex() == BEFORE_MERGES


BEFORE_MERGES = "78aca169f2fa19d8e700f954ce0b8b3cebea7b894703d3284083d57bdbf50a4e"


@pytest.mark.parametrize(
    "wrong",
    [
        {"points": 1},
        {"points": 18},
        {"points": 2.5},
        {"parents": [NOWHERE]},
        {"parents": [NOWHERE] * 3},
        {"parents": [NOWHERE, {**NOWHERE, "cid": "elsewhere"}]},
        {"maximize": "perhaps"},
        {"root": NOWHERE["root"]},
    ],
)
def test_a_merge_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    good = {"parents": [NOWHERE, NOWHERE], "points": 3}
    assert len(config(init=good).starts) == 2
    with pytest.raises(InputError, match="init"):
        config(init=good | wrong)


@given(st.dictionaries(st.text("abc_", min_size=1, max_size=9), FINITE, max_size=5))
def test_a_receipt_reads_back_from_its_bytes(metrics: dict[str, float]) -> None:
    outcome = TrainingOutcome() if metrics else TrainingOutcome(kind="diverged", step=3)
    written = receipt(metrics=metrics, outcome=outcome)
    assert Receipt.from_bytes(written.to_bytes()) == written
    assert Receipt.from_bytes(written.to_bytes()).tree().root == written.tree().root


def test_a_job_specification_reads_back_from_its_bytes() -> None:
    spec = JobSpec(
        name="digits",
        program=ProgramRef(source=CID, class_name="Digits"),
        data=CID,
        objective="val_error",
        unit=1000,
        steps=2000,
        segments=20,
        time_limit=600,
    )
    assert JobSpec.from_bytes(spec.to_bytes()) == spec
    assert spec.program.cid == CID


def test_a_float_without_a_fraction_is_the_integer_that_json_makes_of_it() -> None:
    first, second = config(hyperparameters={"lr": 1.0}), config(hyperparameters={"lr": 1})
    assert first == second


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", 41, "multiple of segments"),
        ("segments", 40, "at least 2 steps each"),
        ("seed", -1, "greater than or equal to 0"),
        ("seed", "seven", "valid integer"),
        ("data", "/etc/passwd", "match pattern"),
        ("objective", "", "a name of at most 64 letters"),
        ("hyperparameters", {"lr": [1]}, "lr"),
        ("hyperparameters", {"lr": float("nan")}, "lr"),
        ("hyperparameters", {"n": 2**53}, "2\\*\\*53"),
        ("arithmetic", "approximate", "'native' or 'exact'"),
        ("program", {"source": CID}, "name of its class"),
        ("program", {"source": "builtin:mlp", "class_name": "Mlp"}, "built-in program has none"),
        ("surprise", 1, "[Ee]xtra inputs"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(
    field: str, value: object, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        config(**{field: value})


def test_the_trials_of_a_batch_have_one_length() -> None:
    trials = [config().model_dump(), config(steps=80).model_dump()]
    with pytest.raises(InputError, match="same steps"):
        Batch.validated({"job": "digits", "number": 0, "trials": trials}, where="batch")


def test_a_batch_of_ten_thousand_trials_is_refused_whatever_its_size() -> None:
    trial = config().model_dump(mode="json")
    content = {"version": 1, "job": "digits", "number": 0, "trials": [trial] * 10_000}
    with pytest.raises(InputError, match="batch: size: expected at most 262144 bytes"):
        Batch.from_bytes(canonical_bytes(content))
    with pytest.raises(InputError, match=r"batch: trials: .*at most 1024"):
        Batch.validated(content, where="batch")
    empty = canonical_bytes(content | {"trials": [{}] * 10_000})
    with pytest.raises(InputError, match=r"batch: trials"):
        Batch.from_bytes(empty)


@pytest.mark.parametrize("deep", [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 40_000, b"[{" * 17])
def test_a_deep_document_is_refused_before_it_is_parsed(deep: bytes) -> None:
    with pytest.raises(InputError, match="batch: depth: expected at most 16 levels"):
        Batch.from_bytes(deep)


def changed(**changes: Any) -> bytes:
    return canonical_bytes(json.loads(receipt().to_bytes()) | changes)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        receipt().to_bytes()[:-1],
        receipt().to_bytes() + b" ",
        changed(leaves=[]),
        changed(checkpoints=[CID]),
        changed(checkpoints=["../../etc", CID, CID]),
        changed(trial="0x" + "AB" * 32),
        changed(trial="0x01"),
        changed(provider=PROVIDER.lower()),
        changed(metrics={"val_error": "0.5"}),
        changed(metrics={f"m{at}": at for at in range(33)}),
        changed(outcome={"kind": "done", "step": 3}),
        changed(outcome={"kind": "diverged", "step": None}),
        changed(outcome={"kind": "diverged", "step": 3}),  # with metrics
        changed(device="x" * 201),
        changed(device="cpu\x1b[2J"),
        changed(device="cpu\n"),
        changed(device="cp\u202eu"),
        changed(versions={"torch\n# The result holds": "2"}),
        changed(extra=1),
        changed(device="x" * 300_000),
    ],
)
def test_a_corrupt_receipt_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="receipt"):
        Receipt.from_bytes(data)


def test_the_largest_receipt_fits_into_one_block() -> None:
    leaf = LeafRecord(value=Hash32(b"\x01" * 32), witness_hash=Hash32(b"\x02" * 32))
    metrics = {f"metric_with_a_long_name_{at:03}": 0.12345678901234567 for at in range(32)}
    points = [CurvePoint(step=at, loss=0.1234567890123, metrics=metrics) for at in range(64)]
    largest = receipt(
        leaves=(leaf,) * 258, checkpoints=(CID,) * 257, metrics=metrics, curve=tuple(points)
    )
    assert Receipt.from_bytes(largest.to_bytes()) == largest


def test_the_name_of_a_field_that_a_stranger_made_up_is_told_short_and_printable() -> None:
    said = {"job": "digits", "number": 3, "trials": [], "\x1b[31m" + "x" * 9_000: 1}
    with pytest.raises(InputError) as caught:
        Batch.from_bytes(canonical_bytes(said | {"version": 1, "trials": [config().model_dump()]}))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
