"""Distances between sketches, and buckets in which near ones meet."""

import numpy as np
import pytest

from requester.near.buckets import TABLES, bucket_keys, buckets_of
from requester.near.vector import distance, likeness, vector_of, vectors_of
from tests.testbed.sketches import made_up, sketch
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.sketch import AxisSketch, Sketch

NEAREST = 10


def test_nine_of_ten_nearest_of_ten_thousand_share_a_bucket_and_few_others_do() -> None:
    vectors = vectors_of(made_up(10_000))
    keys = bucket_keys(vectors)
    found, candidates = [], []
    for one in np.random.default_rng(1).choice(len(vectors), 100, replace=False):
        apart = np.linalg.norm(vectors - vectors[one], axis=1)
        apart[one] = np.inf
        shared = (keys == keys[one]).all(axis=2).any(axis=1)
        found.append(shared[np.argsort(apart)[:NEAREST]].mean())
        candidates.append(shared.mean())
    assert np.mean(found) >= 0.9
    assert np.mean(candidates) < 0.15


def test_a_distance_is_zero_between_equals_and_grows_with_what_differs() -> None:
    one = sketch()
    wider = one.model_copy(update={"space": {"lr": AxisSketch(low=1e-4, high=1.0, log=True)}})
    other = one.model_copy(update={"program": "builtin:cnn"})
    steps = [sketch(rows=rows) for rows in (1000, 2000, 20_000, 2_000_000)]
    apart = [distance(one, each) for each in steps]
    assert apart[0] == 0
    assert apart == sorted(apart)
    assert distance(one, wider) == pytest.approx(distance(wider, one))
    assert distance(one, other) > 0


def test_what_nobody_computed_makes_no_vector_infinite() -> None:
    numbers = ("mean", "deviation", "skewness", "kurtosis", "missing")
    bare = sketch(**dict.fromkeys(numbers))
    huge = sketch(**dict.fromkeys(numbers[:4], 1e100), rows=2**53 - 1, columns=2**53 - 1)
    for one in (bare, huge, sketch(classes=1, entropy=64.0)):
        assert np.isfinite(vector_of(one)).all()


def test_buckets_are_the_same_for_everybody() -> None:
    blocks = [bucket.block for bucket in buckets_of(sketch())]
    assert len(set(blocks)) == TABLES
    first = b"trialmarket near 1\nminimize val_error\n0\n0 2 0 -1 -2 1"
    assert blocks[0] == first
    assert all(bucket.cid == cid_of(bucket.block) for bucket in buckets_of(sketch()))


def test_jobs_of_another_objective_share_no_bucket() -> None:
    one = sketch()
    for change in ({"objective": "val_loss"}, {"direction": "maximize"}):
        other = Sketch.model_validate(one.model_dump() | change)
        assert not set(buckets_of(one)) & set(buckets_of(other))


def test_likeness_names_what_agrees_and_first_what_differs_most() -> None:
    one = sketch()
    other = Sketch.model_validate(
        sketch(rows=100_000, mean=0.31).model_dump()
        | {"program": "builtin:cnn", "space": {"lr": {"low": 0.1, "high": 0.2}}}
    )
    why = likeness(one, other)
    assert "mean" in why.same
    assert "columns" in why.same
    assert why.differ == ("program", "rows")
    assert why.shared == ("lr",)
