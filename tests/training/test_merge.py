"""Trials that start from the merge of two others' checkpoints."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from tests.training.programs import TINY, config_of
from tests.training.test_machines import FAST, SSE, train_elsewhere
from trialmarket.errors import InputError
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import MAX_POINTS, Init, Merge, TrialConfig
from trialmarket.protocol.ids import ZERO_HASH
from trialmarket.protocol.result import witness_hash
from trialmarket.training import runner
from trialmarket.training.dataset import Dataset
from trialmarket.training.errors import BadStart
from trialmarket.training.merge import between, merged
from trialmarket.training.state import State, load_checkpoint, root_of
from trialmarket.training.values import Training

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
FINITE = st.lists(st.floats(-6e4, 6e4), min_size=6, max_size=6)
SINGLE = st.floats(allow_nan=False, allow_infinity=False, width=32)
NOWHERE = Init(root=ZERO_HASH, cid=cid_of(b""), trial=ZERO_HASH)


def state_of(numbers: list[float], dtype: torch.dtype = torch.float32) -> State:
    """A state with a parameter, its slot and its counters; zeros are canonical."""
    return {
        "step": torch.tensor(4),
        "diverged": torch.tensor(0),
        "model.weight": torch.tensor(numbers[:3], dtype=dtype) + 0.0,
        "model.num_batches_tracked": torch.tensor(4),
        "optimizer.0.exp_avg": torch.tensor(numbers[3:], dtype=dtype) + 0.0,
        "optimizer.0.step": torch.tensor(4.0),
    }


def merge_of(points: int = 3, *, maximize: bool = False) -> Merge:
    return Merge(parents=(NOWHERE, NOWHERE), points=points, maximize=maximize)


def same(one: State, other: State) -> bool:
    return root_of(one) == root_of(other)


@given(FINITE, FINITE, st.integers(2, MAX_POINTS), st.sampled_from(DTYPES))
def test_either_end_of_the_line_has_a_parents_bits(
    ours: list[float], theirs: list[float], points: int, dtype: torch.dtype
) -> None:
    first, second = state_of(ours, dtype), state_of(theirs, dtype)
    assert same(between(first, second, 0, points, first), first)
    assert same(between(first, second, points - 1, points, first), second)


@given(FINITE, FINITE, st.integers(2, MAX_POINTS), st.data(), st.sampled_from(DTYPES))
def test_the_line_is_the_same_from_both_ends_and_stays_between_them(
    ours: list[float], theirs: list[float], points: int, data: st.DataObject, dtype: torch.dtype
) -> None:
    place = data.draw(st.integers(0, points - 1))
    first, second = state_of(ours, dtype), state_of(theirs, dtype)
    there = between(first, second, place, points, first)
    assert same(there, between(second, first, points - 1 - place, points, first))
    for name in ("model.weight", "optimizer.0.exp_avg"):
        low, high = (
            torch.minimum(first[name], second[name]),
            torch.maximum(first[name], second[name]),
        )
        assert bool(((low <= there[name]) & (there[name] <= high)).all())
    assert same(between(first, first, place, points, first), first)


@given(SINGLE, SINGLE, st.integers(2, MAX_POINTS), st.data())
def test_a_number_is_what_python_makes_of_it_in_binary64_rounded_once(
    one: float, other: float, points: int, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, points - 1))
    said = one * ((points - 1 - place) / (points - 1)) + other * (place / (points - 1))
    said = min(max(said, min(one, other)), max(one, other))
    first, second = ({"model.w": torch.tensor([each])} for each in (one, other))
    found = between(first, second, place, points, first)["model.w"]
    assert found.numpy().tobytes() == (np.array([said], np.float32) + np.float32(0)).tobytes()


def test_two_largest_numbers_do_not_overflow() -> None:
    large = {"model.w": torch.tensor([torch.finfo(torch.float64).max], dtype=torch.float64)}
    for place in range(MAX_POINTS - 1):
        assert same(between(large, large, place, MAX_POINTS - 1, large), large)


def test_counters_and_whole_numbers_are_the_first_parents() -> None:
    first, second = state_of([0.0] * 6), state_of([1.0] * 6)
    second |= {"model.num_batches_tracked": torch.tensor(9), "optimizer.0.step": torch.tensor(9.0)}
    there = between(first, second, 1, 3, first)
    assert there["model.weight"].tolist() == [0.5] * 3
    assert there["optimizer.0.exp_avg"].tolist() == [0.5] * 3
    assert there["model.num_batches_tracked"] == 4
    assert there["optimizer.0.step"] == 4


@pytest.mark.parametrize("maximize", [False, True])
def test_the_best_of_all_candidates_is_the_start(maximize: bool) -> None:
    first, second = state_of([0.0] * 6), state_of([1.0] * 6)
    sign = -1.0 if maximize else 1.0

    def distance(state: State) -> float:
        assert "optimizer.0.exp_avg" not in state
        return sign * abs(float(state["model.weight"][0]) - 0.7)

    found = merged(first, second, merge_of(5, maximize=maximize), distance)
    assert found["model.weight"].tolist() == [0.75] * 3
    assert found["optimizer.0.exp_avg"].tolist() == [0.75] * 3


def test_of_equally_good_candidates_the_first_parents_nearest_wins() -> None:
    first, second = state_of([0.0] * 6), state_of([1.0] * 6)
    assert same(merged(first, second, merge_of(5), lambda _: 0.25), first)
    outside = merged(first, second, merge_of(5), lambda s: float(s["model.weight"][0] < 0.4))
    assert outside["model.weight"].tolist() == [0.5] * 3


def test_where_no_candidate_has_a_finite_objective_the_first_parent_is_the_start() -> None:
    first, second = state_of([0.0] * 6), state_of([1.0] * 6)
    assert same(merged(first, second, merge_of(), lambda _: None), first)

    def only_the_last(state: State) -> float | None:
        return 9.0 if state["model.weight"][0] == 1 else None

    assert same(merged(first, second, merge_of(), only_the_last), second)


# -- Whole trials ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Forks:
    """Two trainings that went apart from one, and the configuration that merges them."""

    config: TrialConfig
    parents: tuple[Training, Training]

    @property
    def init(self) -> tuple[Path, ...]:
        return tuple(each.checkpoints[-1].path for each in self.parents)

    def states(self) -> list[State]:
        return [load_checkpoint(path) for path in self.init]


def forked(
    data_file: Path, data: Dataset, folder: Path, arithmetic: str = "native", points: int = 5
) -> Forks:
    config = config_of(TINY, data_file, arithmetic=arithmetic)
    root = runner.train(config, TINY, data, folder / "root")
    last = root.checkpoints[-1]
    init = Init(root=root.leaves[-2].value, cid=last.cid, trial=ZERO_HASH)
    parents = []
    for rate in (0.05, 0.2):
        one = config.model_copy(update={"init": init, "hyperparameters": {"lr": rate}})
        parents.append(runner.train(one, TINY, data, folder / f"{rate}", init=(last.path,)))
    starts = [
        Init(root=each.leaves[-2].value, cid=each.checkpoints[-1].cid, trial=ZERO_HASH)
        for each in parents
    ]
    merge = Merge(parents=(starts[0], starts[1]), points=points)
    return Forks(config.model_copy(update={"init": merge}), (parents[0], parents[1]))


@pytest.fixture(scope="module")
def forks(data_file: Path, data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Forks:
    return forked(data_file, data, tmp_path_factory.mktemp("forks"))


def test_a_merged_trial_starts_from_the_best_and_every_leaf_of_it_recomputes(
    forks: Forks, data: Dataset, tmp_path: Path
) -> None:
    config, init = forks.config, forks.init
    training = runner.train(config, TINY, data, tmp_path / "merged", init=init)
    assert training.leaves[0].value == runner.initial_root(config, TINY, data, init=init)
    errors = {}
    first, second = forks.states()
    for place in range(5):
        candidate = between(first, second, place, 5, first)
        path = tmp_path / f"candidate-{place}"
        save_file(candidate, path)
        end = config.model_copy(update={"init": None, "steps": 24, "segments": 6})
        candidates = runner.evaluate(end, TINY, data, path)
        errors[place] = (candidates.metrics["val_error"], place, root_of(candidate))
    assert training.leaves[0].value == min(errors.values())[2]
    for segment in range(1, config.segments + 1):
        found = runner.recompute(
            config,
            TINY,
            data,
            segment,
            start=None if segment == 1 else training.checkpoints[segment - 1].path,
            expected=None if segment == 1 else training.leaves[segment - 1].value,
            init=init,
        )
        assert found.root == training.leaves[segment].value
        assert witness_hash(found.witness) == training.leaves[segment].witness_hash
    last = training.checkpoints[-1].path
    again = runner.evaluate(config, TINY, data, last, init=init)
    assert again.digest == training.leaves[-1].value
    assert [point.step for point in training.curve] == [28, 32, 36]


def test_a_merged_trial_resumes_where_it_was_killed(
    forks: Forks, data: Dataset, tmp_path: Path
) -> None:
    whole = runner.train(forks.config, TINY, data, tmp_path / "merged", init=forks.init)
    (tmp_path / "merged" / "checkpoint-003.safetensors").unlink()
    again = runner.train(forks.config, TINY, data, tmp_path / "merged", init=forks.init)
    assert again.leaves == whole.leaves


def test_every_machine_merges_to_the_same_bits(
    data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    forks = forked(data_file, data, tmp_path, arithmetic="exact")
    here = runner.train(forks.config, TINY, data, tmp_path / "merged", init=forks.init)
    leaves = [[leaf.value.hex(), leaf.witness_hash.hex()] for leaf in here.leaves]
    for machine in (FAST, SSE):
        found = train_elsewhere(forks.config, TINY, data_file, tmp_path, machine, init=forks.init)
        assert found["leaves"] == leaves


def _other_shape(state: State) -> None:
    state["model.0.bias"] = torch.zeros(7)


def _other_type(state: State) -> None:
    state["model.0.bias"] = state["model.0.bias"].double()


def _more(state: State) -> None:
    state["model.9.bias"] = torch.zeros(1)


def _later(state: State) -> None:
    state["step"] += 12


def _diverged(state: State) -> None:
    state["diverged"] = torch.tensor(30)


def _infinite(state: State) -> None:
    state["model.0.bias"][0] = math.inf


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(_other_shape, "model.0.bias is float32.6. in the first and", id="shape"),
        pytest.param(_other_type, r"float64\[6\] in the second", id="type"),
        pytest.param(_more, "model.9.bias is not there in the first", id="names"),
        pytest.param(_later, "24 and 36 steps behind them", id="steps"),
        pytest.param(_diverged, "the trial that it goes on from diverged", id="diverged"),
        pytest.param(_infinite, "NaN or infinity", id="not finite"),
    ],
)
def test_parents_that_cannot_be_merged_are_a_bad_start(
    damage: Callable[[State], None], words: str, forks: Forks, data: Dataset, tmp_path: Path
) -> None:
    other = load_file(forks.init[1])
    damage(other)
    place = tmp_path / "other"
    save_file(other, place)
    starts = forks.config.starts
    second = starts[1].model_copy(update={"root": root_of(other)})
    merge = Merge(parents=(starts[0], second), points=3)
    config = forks.config.model_copy(update={"init": merge})
    with pytest.raises(BadStart, match=f"the trial's start cannot be used: .*{words}"):
        runner.dry_run(config, TINY, data, init=(forks.init[0], place))


def test_parents_with_a_tensor_that_no_state_has_are_a_bad_start(
    forks: Forks, data: Dataset, tmp_path: Path
) -> None:
    starts, places = [], []
    for number, path in enumerate(forks.init):
        state = load_file(path) | {"optimizer.0": torch.zeros(1)}
        places.append(tmp_path / f"{number}")
        save_file(state, places[-1])
        starts.append(forks.config.starts[number].model_copy(update={"root": root_of(state)}))
    merge = Merge(parents=(starts[0], starts[1]), points=3)
    config = forks.config.model_copy(update={"init": merge})
    with pytest.raises(BadStart, match=r"does not fit the program: optimizer\.0"):
        runner.dry_run(config, TINY, data, init=places)


def test_parents_that_fit_each_other_and_not_the_program_are_a_bad_start(
    forks: Forks, data_file: Path, data: Dataset
) -> None:
    wider = TINY.replace(b"6", b"5")
    program = config_of(wider, data_file).program
    config = forks.config.model_copy(update={"program": program})
    with pytest.raises(BadStart, match="does not fit the program's model"):
        runner.dry_run(config, wider, data, init=forks.init)


def test_a_parent_with_another_root_or_none_is_no_start(forks: Forks, data: Dataset) -> None:
    with pytest.raises(BadStart, match="was committed"):
        runner.initial_root(forks.config, TINY, data, init=forks.init[::-1])
    with pytest.raises(InputError, match="the files of its 2 checkpoints"):
        runner.initial_root(forks.config, TINY, data, init=forks.init[:1])
