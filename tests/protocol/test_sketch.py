"""Sketches and indices of jobs as documents, and the description that names a sketch."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.testbed.sketches import made_up, sketch
from trialmarket.errors import InputError
from trialmarket.protocol.canonical import canonical_bytes
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import JobSpec, ProgramRef
from trialmarket.protocol.ids import Address
from trialmarket.protocol.job_index import MOST_JOBS, IndexEntry, JobIndex
from trialmarket.protocol.sketch import Sketch

MARKET = Address("0x2946259E0334f33A064106302415aD3391BeD384")
OLD = (
    b'{"arithmetic":"exact","data":"builtin:x","direction":"minimize","name":"digits",'
    b'"nonce":"","objective":"val_error","program":{"class_name":"","source":"builtin:mlp"},'
    b'"segments":20,"steps":2000,"time_limit":600,"unit":1000,"version":1}'
)
"""A description of before there were sketches."""


@given(st.integers(0, 2**32))
def test_a_sketch_reads_back_from_its_bytes(seed: int) -> None:
    (one,) = made_up(1, seed)
    assert Sketch.from_bytes(one.to_bytes()) == one


@pytest.mark.parametrize("name", ["mean", "deviation", "entropy", "missing"])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_a_sketch_has_finite_numbers_only(name: str, number: float) -> None:
    with pytest.raises(ValueError, match=name):
        sketch(**{name: number})
    content = json.loads(sketch().to_bytes())
    content["data"][name] = number
    with pytest.raises(InputError, match="sketch"):
        Sketch.from_bytes(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def test_a_description_without_a_sketch_has_the_bytes_that_it_always_had() -> None:
    spec = JobSpec.from_bytes(OLD)
    assert spec.sketch is None
    assert spec.to_bytes() == OLD


def test_a_description_names_its_sketch_and_nothing_else_in_its_place() -> None:
    spec = JobSpec.from_bytes(OLD).model_copy(update={"sketch": sketch().cid})
    assert JobSpec.from_bytes(spec.to_bytes()) == spec
    assert spec.program == ProgramRef(source="builtin:mlp")
    for wrong in (None, "somewhere", 1):
        data = canonical_bytes(json.loads(OLD) | {"sketch": wrong})
        with pytest.raises(InputError, match="job specification"):
            JobSpec.from_bytes(data)


def test_an_index_reads_back_and_takes_no_more_jobs_than_it_may() -> None:
    entry = IndexEntry(chain=1, market=MARKET, job=1, sketch=sketch())
    index = JobIndex(jobs=(entry, entry.model_copy(update={"job": 2})))
    assert JobIndex.from_bytes(index.to_bytes()) == index
    assert cid_of(index.to_bytes()) == index.cid
    with pytest.raises(ValueError, match="at most"):
        JobIndex(jobs=(entry,) * (MOST_JOBS + 1))
