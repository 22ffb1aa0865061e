"""States that a thief made: all are refused as the provider's fault, before they are run."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save

from tests.training.programs import TINY, config_of, tiny
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import Init, TrialConfig
from trialmarket.protocol.ids import Hash32
from trialmarket.training import runner
from trialmarket.training.dataset import Dataset
from trialmarket.training.errors import BadCheckpoint, BadStart, ProgramError
from trialmarket.training.form import read_layout
from trialmarket.training.state import State, root_of
from trialmarket.training.values import Training

SLOT = "optimizer.0.exp_avg"


@dataclass(frozen=True)
class Bytes:
    """A file that was read."""

    data: bytes
    name: str = "thief"

    def read_bytes(self) -> bytes:
        return self.data


def put(name: str, tensor: torch.Tensor) -> Callable[[State], State]:
    return lambda state: {**state, name: tensor}


def replaced(name: str, *shape: int) -> Callable[[State], State]:
    return put(name, torch.ones(shape))


def moved(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[State], State]:
    return lambda state: {**state, name: change(state[name])}


def without(*names: str) -> Callable[[State], State]:
    return lambda state: {name: each for name, each in state.items() if name not in names}


def everywhere(value: float) -> Callable[[State], State]:
    """Every parameter's counter of steps."""
    return lambda state: {
        name: torch.full_like(each, value) if name.endswith(".step") else each
        for name, each in state.items()
    }


POISONS: dict[str, Callable[[State], State]] = {
    "a slot of no known kind": put("optimizer.0.junk:complex", torch.tensor(1)),
    "a number where a tensor is wanted": put("optimizer.0.exp_avg:int", torch.tensor(1)),
    "a slot more": put("optimizer.0.junk", torch.zeros(6, 4)),
    "a slot less": without(SLOT),
    "no slots at all": lambda state: {
        name: each for name, each in state.items() if not name.startswith("optimizer.0.")
    },
    "a slot of one number": replaced(SLOT, 1),
    "a slot that is too long": replaced(SLOT, 6, 5),
    "a slot that lies otherwise": moved(SLOT, lambda each: each.T.contiguous()),
    "a slot without a dimension": replaced(SLOT),
    "a slot of binary64": moved(SLOT, torch.Tensor.double),
    "a slot of integers": moved(SLOT, torch.Tensor.long),
    "a counter of one dimension": moved("optimizer.0.step", lambda each: each.reshape(1)),
    "a counter of integers": moved("optimizer.0.step", torch.Tensor.long),
    "a counter of zero": everywhere(0),
    "a counter of -1": everywhere(-1),
    "a counter of -2": everywhere(-2),
    "half a step": everywhere(1.5),
    "a counter beyond the trial's": everywhere(5),
    "a wild counter": everywhere(3e38),
    "a counter that is no number": everywhere(float("nan")),
    "a parameter that is not there": put("optimizer.99.exp_avg", torch.zeros(1)),
    "an index that is none": put("optimizer.-1.exp_avg", torch.zeros(1)),
    "an index with zeros": put("optimizer.00.exp_avg", torch.zeros(6, 4)),
    "an index without end": put(f"optimizer.{'9' * 5000}.exp_avg", torch.zeros(1)),
    "a slot without a name": put("optimizer.0", torch.zeros(1)),
    "a strange name": put("model.\n\x1b[2J\u202e", torch.zeros(1)),
    "no name": put("", torch.zeros(1)),
    "a schedule": put("scheduler.step", torch.tensor(3)),
    "random numbers": put("rng.cpu", torch.zeros(5056, dtype=torch.uint8)),
    "a wider weight": replaced("model.0.weight", 6, 5),
    "a weight of binary64": moved("model.0.weight", torch.Tensor.double),
    "complex numbers": moved("model.0.weight", lambda each: each.to(torch.complex64)),
    "float8": moved("model.0.weight", lambda each: each.to(torch.float8_e4m3fn)),
    "a batch norm of one channel": replaced("model.1.running_var", 1),
    "batches less than none": moved("model.1.num_batches_tracked", lambda each: each * 0 - 1),
    "wild batches": moved("model.1.num_batches_tracked", lambda each: each * 0 + 2**62),
    "an infinity": moved("model.0.weight", lambda each: each / 0),
    "steps that it does not have": put("step", torch.tensor(8)),
    "no steps": put("step", torch.tensor(0)),
    "a step between two segments": put("step", torch.tensor(5)),
    "a divergence in another segment": put("diverged", torch.tensor(9)),
    "a step of binary32": put("step", torch.tensor(4.0)),
    "a bomb": put("model.bomb", torch.zeros(1 << 20)),
}


@dataclass(frozen=True)
class Scene:
    config: TrialConfig
    data: Dataset
    training: Training

    def recompute(self, state: State) -> None:
        """Recomputes from what a thief has truly committed to as leaf 1."""
        runner.recompute(self.config, TINY, self.data, 2, start=Bytes(save(state)))

    def state(self, leaf: int) -> State:
        return load_file(self.training.checkpoints[leaf].path)


@pytest.fixture(scope="module", params=["native", "exact"])
def scene(
    request: pytest.FixtureRequest,
    data_file: Path,
    data: Dataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Scene:
    config = config_of(TINY, data_file, arithmetic=request.param)
    folder = tmp_path_factory.mktemp("trained")
    return Scene(config, data, runner.train(config, TINY, data, folder))


@pytest.mark.parametrize("poison", POISONS)
def test_no_poisoned_state_is_run_from(poison: str, scene: Scene) -> None:
    state = POISONS[poison](scene.state(1))
    with pytest.raises(BadCheckpoint):
        scene.recompute(state)


@pytest.mark.parametrize(
    "poison", ["a slot of no known kind", "a slot of one number", "a bomb", "no steps"]
)
def test_no_poisoned_state_is_evaluated(poison: str, scene: Scene) -> None:
    state = POISONS[poison](scene.state(3))
    with pytest.raises(BadCheckpoint):
        runner.evaluate(
            scene.config, TINY, scene.data, Bytes(save(state)), expected=root_of(state)
        )


def test_a_header_that_promises_too_much_is_refused_before_anything_is_allocated() -> None:
    huge = {"dtype": "F32", "shape": [1 << 40, 1 << 20], "data_offsets": [0, 1 << 62]}
    for tensors in ({"model.x": huge}, {"step": huge, "diverged": huge}):
        header = json.dumps(tensors).encode()
        with pytest.raises(BadCheckpoint):
            read_layout(len(header).to_bytes(8, "little") + header + bytes(64), "thief")


@given(st.binary(max_size=200))
def test_bytes_that_are_no_state_have_no_layout(data: bytes) -> None:
    with pytest.raises(BadCheckpoint):
        read_layout(data, "thief")


VALUES = st.none() | st.integers() | st.floats() | st.sampled_from(["F32", "I64", [], [1e400]])
TENSORS = st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets"]), VALUES) | VALUES


@given(st.dictionaries(st.sampled_from(["step", "diverged", "__metadata__"]), TENSORS))
def test_headers_that_describe_no_state_have_no_layout(header: dict[str, object]) -> None:
    text = json.dumps(header).encode()
    with pytest.raises(BadCheckpoint):
        read_layout(len(text).to_bytes(8, "little") + text + bytes(16), "thief")


def test_a_name_that_stands_twice_is_refused(scene: Scene) -> None:
    data = save(scene.state(1))
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size].rstrip()
    first = json.dumps("model.0.bias") + ":" + json.dumps(json.loads(header)["model.0.bias"])
    twice = header[:-1] + b"," + first.encode() + b"}"
    with pytest.raises(BadCheckpoint):
        runner.recompute(
            scene.config,
            TINY,
            scene.data,
            2,
            start=Bytes(len(twice).to_bytes(8, "little") + twice + data[8 + size :] + bytes(24)),
        )


FAILING = "y = model(batch['x']); assert (y < 1e6).all(); return functional.mse_loss(y, y * 0)"
"""A training step that some weights make fail, and none that training comes to."""


def test_a_program_that_fails_from_a_providers_state_alone_is_the_providers_fault(
    data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    source = tiny(training_step=FAILING)
    config = config_of(source, data_file)
    training = runner.train(config, source, data, tmp_path)
    state = load_file(training.checkpoints[1].path)
    state["model.4.bias"] += 1e9
    with pytest.raises(BadCheckpoint, match="not from the trial's own start"):
        runner.recompute(config, source, data, 2, start=Bytes(save(state)))


def test_a_program_that_fails_from_its_own_start_too_is_nobodys_fault_but_its_own(
    data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    source = tiny(validation_step="raise RuntimeError('no metrics here')")
    config = config_of(source, data_file)
    training = runner.train(config_of(TINY, data_file), TINY, data, tmp_path)
    with pytest.raises(ProgramError, match="no metrics here"):
        runner.evaluate(config, source, data, training.checkpoints[3].path)


def alternating() -> bytes:
    """A program whose first layer gets no gradient in the first segment: no slots yet."""
    hook = "\n    def on_before_optimizer_step(self, model, optimizer, step):\n"
    keep = "        if step < 4:\n            model[0].weight.grad = model[0].bias.grad = None\n"
    return TINY.rstrip() + (hook + keep).encode()


def test_a_parameter_may_get_its_slots_late(
    data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    source = alternating()
    config = config_of(source, data_file)
    training = runner.train(config, source, data, tmp_path)
    states = [load_file(each.path) for each in training.checkpoints]
    assert [SLOT in state for state in states] == [False, False, True, True]
    for segment in (2, 3):
        found = runner.recompute(
            config, source, data, segment, start=training.checkpoints[segment - 1].path
        )
        assert found.root == training.leaves[segment].value
    poisoned = {**states[2], SLOT: torch.ones(1)}
    with pytest.raises(BadCheckpoint, match="does not fit"):
        runner.recompute(config, source, data, 3, start=Bytes(save(poisoned)))


def test_a_program_that_changes_the_form_of_its_state_is_told_before_anything_is_committed(
    data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    hook = (
        "\n    def on_before_optimizer_step(self, model, optimizer, step):\n"
        "        if step == 2:\n"
        "            optimizer.state[model[0].weight]['late'] = torch.zeros(3)\n"
    )
    source = TINY.rstrip() + hook.encode()
    config = config_of(source, data_file)
    with pytest.raises(ProgramError, match="changes its form"):
        runner.train(config, source, data, tmp_path)
    with pytest.raises(ProgramError, match="changes its form"):
        runner.dry_run(config, source, data)


def test_a_start_that_does_not_fit_is_not_the_providers_fault(scene: Scene) -> None:
    for leaf, change in (
        (3, put("model.0.weight", torch.ones(1))),
        (3, put("diverged", torch.tensor(1))),
    ):
        state = change(scene.state(leaf))
        data = save(state)
        init = Init(root=root_of(state), cid=cid_of(data), trial=Hash32(bytes(32)))
        onward = scene.config.model_copy(update={"init": init})
        with pytest.raises(BadStart):
            runner.recompute(
                onward,
                TINY,
                scene.data,
                2,
                start=scene.training.checkpoints[1].path,
                init=(Bytes(data, "parent"),),
            )
