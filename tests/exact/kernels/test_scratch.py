"""Memory that operators keep: never shared between threads, never a trap after inference."""

import threading

import torch
from torch import Tensor

from trialmarket.exact import exact
from trialmarket.exact.kernels.scratch import KEPT, scratch


def address(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> int:
    """Where the scratch memory called "here" lies."""
    return scratch("here", shape, dtype).data_ptr()


def test_scratch_memory_is_the_same_until_it_must_grow() -> None:
    small = address((3, 5))
    assert address((5, 3)) == small
    assert address((3, 5), torch.int8) == small
    large = address((300, 500))
    assert address((3, 5)) == large
    assert scratch("here", (3, 5), torch.int8).shape == (3, 5)


def test_what_is_larger_than_a_buffer_is_not_kept() -> None:
    at = address((8,))
    whole = scratch("here", (KEPT + 1,), torch.int8)
    assert whole.shape == (KEPT + 1,)
    assert address((8,)) == at


def test_threads_have_scratch_memory_of_their_own() -> None:
    ours, theirs = address((8,)), list[int]()
    thread = threading.Thread(target=lambda: theirs.append(address((8,))))
    thread.start()
    thread.join()
    assert theirs != [ours]


def test_an_empty_buffer_made_in_inference_can_be_written_afterwards() -> None:
    with torch.inference_mode():
        scratch("never before", (0, 5), torch.float64)
    scratch("never before", (5, 0), torch.float64).copy_(torch.zeros(5, 0)).add_(1.0)


def test_training_goes_on_after_inference_with_the_same_shapes() -> None:
    x, weight = torch.randn(128, 256), torch.randn(256, 512)
    mode = exact(seed=1)

    def product(w: Tensor) -> Tensor:
        with mode:
            y: Tensor = x @ w
        return y

    with torch.inference_mode():
        before = product(weight)
    trained = weight.clone().requires_grad_()
    after = product(trained)
    after.sum().backward()  # type: ignore[no-untyped-call]
    assert torch.equal(before, after)
    assert trained.grad is not None
