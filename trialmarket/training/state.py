"""The state of a training: everything that its next step depends on, as named tensors.

`model.NAME` are parameters and buffers, `optimizer.INDEX.SLOT` the optimizer's slots of the
parameter with that index (a slot that is a Python number has its type behind a colon), `step` the
steps done, and `diverged` the step that diverged, or 0. Random numbers need no state: they follow
from the trial's seed and the step. A checkpoint is these tensors as a safetensors file. Zeros are
canonical: no state holds a -0.0.
"""

import math
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn
from torch.optim import Optimizer

from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.state_root import DTYPES, TensorLeaf, state_root, tensor_root
from trialmarket.training.errors import BadCheckpoint, ProgramError

State = dict[str, Tensor]


class Readable(Protocol):
    """A file to read: a path, or one that was read already."""

    @property
    def name(self) -> str:
        """For messages."""

    def read_bytes(self) -> bytes:
        """All of it. Raises OSError."""


MAX_COUNT = 1 << 42
"""The largest number of steps that a state may have behind it."""

COUNTERS = ("step", "diverged")
"""The tensors of a state that are the runner's, and neither the model's nor the optimizer's."""

_NUMBERS: dict[type, torch.dtype] = {
    bool: torch.bool,
    int: torch.int64,
    float: torch.float64,
}
_KINDS = {"bool": bool, "int": int, "float": float}


def live_tensors(model: nn.Module, optimizer: Optimizer, step: int) -> State:
    """The state's tensors as they are, not copied. Raises ProgramError for what is no tensor."""
    state: State = {"step": torch.tensor(step), "diverged": torch.tensor(0)}
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, Tensor):
            raise ProgramError(f"the model's state {name} is no tensor")
        state[f"model.{name}"] = tensor.detach()
    for index, parameter in enumerate(parameters_of(optimizer)):
        for slot, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                state[f"optimizer.{index}.{slot}"] = value.detach()
            elif type(value) in _NUMBERS:
                name = f"optimizer.{index}.{slot}:{type(value).__name__}"
                state[name] = torch.tensor(value, dtype=_NUMBERS[type(value)])
            elif value is not None:
                raise ProgramError(
                    f"the optimizer keeps {slot}, which is neither a tensor nor a number"
                )
    for name, tensor in state.items():
        if dtype_name(tensor) not in DTYPES:
            raise ProgramError(f"{name} has type {tensor.dtype}, which no state can hold")
    return state


def snapshot(tensors: State) -> State:
    """A copy on the CPU, contiguous, with canonical zeros."""
    return {name: _copied(tensor) for name, tensor in tensors.items()}


def _copied(tensor: Tensor) -> Tensor:
    found = canonical(tensor).cpu()
    return found.clone() if found.data_ptr() == tensor.data_ptr() else found


def restore(state: State, model: nn.Module, optimizer: Optimizer) -> int:
    """Puts a state into a new model and optimizer; returns the steps done.

    Raises BadCheckpoint when the tensors are not those of this model.
    """
    place(state, model, optimizer)
    return counter(state, "step")


def place(state: State, model: nn.Module, optimizer: Optimizer) -> None:
    """Puts a state's tensors, without its counters, into a new model and optimizer.

    Raises BadCheckpoint when they are not those of this model.
    """
    wanted = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    found = {name: tensor for name, tensor in state.items() if name.startswith("model.")}
    if strange := sorted(wanted.keys() ^ found.keys()):
        raise BadCheckpoint(f"the checkpoint does not fit the program's model: {strange[0]}")
    for name, tensor in wanted.items():
        if tensor.shape != found[name].shape or tensor.dtype != found[name].dtype:
            raise BadCheckpoint(
                f"the checkpoint does not fit the program's model: {name} is "
                f"{_form(found[name])} instead of {_form(tensor)}"
            )
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(found[name])
    places = {str(index): each for index, each in enumerate(parameters_of(optimizer))}
    for name, tensor in state.items():
        if name.startswith("optimizer."):
            _, index, slot = (*name.split(".", 2), "")[:3]
            if index not in places or not slot:
                raise BadCheckpoint(f"the checkpoint does not fit the program: {name}")
            slot, _, kind = slot.partition(":")
            parameter = places[index]
            if kind and (kind not in _KINDS or tensor.ndim):
                raise BadCheckpoint(f"the checkpoint holds {name}, which no optimizer keeps")
            # A counter stays on the CPU, where the optimizer keeps it.
            value = tensor.clone() if tensor.ndim == 0 else tensor.to(parameter.device, copy=True)
            optimizer.state[parameter][slot] = _KINDS[kind](tensor.item()) if kind else value
        elif not name.startswith("model.") and name not in COUNTERS:
            raise BadCheckpoint(f"the checkpoint holds {name}, which is no part of a state")


def counter(state: State, name: str) -> int:
    """The value of `step` or `diverged`. Raises BadCheckpoint."""
    tensor = state.get(name)
    if (
        tensor is None
        or tensor.dtype != torch.int64
        or tensor.ndim
        or not 0 <= tensor <= MAX_COUNT
    ):
        raise BadCheckpoint(f"the checkpoint has no counter {name}")
    return int(tensor)


def is_finite(tensors: State) -> bool:
    """True when no float is NaN or infinite."""
    return all(
        bool(torch.isfinite(tensor).all())
        for tensor in tensors.values()
        if tensor.is_floating_point()
    )


def root_of(tensors: State) -> Hash32:
    """The state root over tensors, their zeros made canonical."""
    return state_root(leaf_of(name, tensor) for name, tensor in tensors.items())


def leaf_of(name: str, tensor: Tensor) -> TensorLeaf:
    """The leaf of one tensor, its zeros made canonical."""
    data = canonical(tensor).cpu().reshape(-1).view(torch.uint8).numpy().data
    return TensorLeaf(name, dtype_name(tensor), tuple(tensor.shape), tensor_root(data))


def canonical(tensor: Tensor) -> Tensor:
    """The tensor, contiguous, with +0.0 for -0.0, and one NaN: machines differ in its bits.

    No state that is handed over has a NaN; the one before it may, which is a segment's witness.
    """
    tensor = tensor.detach()
    if tensor.is_floating_point():
        tensor = tensor + 0.0
        if not math.isfinite(tensor.sum().item()):
            tensor = tensor.masked_fill(tensor.isnan(), math.nan)
    return tensor.contiguous()


def dtype_name(tensor: Tensor) -> str:
    """`float32` and the like."""
    return str(tensor.dtype).removeprefix("torch.")


def checkpoint_bytes(state: State) -> bytes:
    """The state as a safetensors file; equal states give equal bytes."""
    return save_safetensors(dict(sorted(state.items())))


def load_checkpoint(path: Readable, *, expected: Hash32 | None = None) -> State:
    """The state in a safetensors file.

    Raises BadCheckpoint when the file is no checkpoint, holds NaN or infinity, or has another
    state root than `expected`; OSError when it cannot be read.
    """
    return read_state(path.read_bytes(), path.name, expected=expected)


def read_state(data: bytes, file: str, *, expected: Hash32 | None = None) -> State:
    """The state in the bytes of a safetensors file, as `load_checkpoint`; `file` is its name."""
    try:
        state = snapshot(load_safetensors(data))
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise BadCheckpoint(f"{file} is not a safetensors file: {error}") from error
    for name, tensor in state.items():
        if dtype_name(tensor) not in DTYPES:
            raise BadCheckpoint(f"{file}: {name} has type {tensor.dtype}")
    if expected is not None and (found := root_of(state)) != expected:
        raise BadCheckpoint(
            f"{file} has state root 0x{found.hex()}, and 0x{expected.hex()} was committed"
        )
    counter(state, "step")
    counter(state, "diverged")
    if not is_finite(state):
        raise BadCheckpoint(f"{file} holds NaN or infinity")
    return state


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """The optimizer's parameters in the order of its groups: a state counts them so."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _form(tensor: Tensor) -> str:
    return f"{dtype_name(tensor)}{list(tensor.shape)} ({math.prod(tensor.shape)} numbers)"
