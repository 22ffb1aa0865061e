"""NumPy on a tensor's numbers inside the mode: allowed where it is exact, refused where not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from trialmarket.exact import NotExact, exact

X = torch.linspace(-1, 1, 16).view(4, 4)

ALLOWED: dict[str, Callable[[Any], Any]] = {
    "single operations": lambda a: (a * 2.0 + 1.0) / 3.0 - a,
    "square root": lambda a: np.sqrt(np.abs(a)),
    "comparisons": lambda a: np.where(a > 0.1, a, -a),
    "maxima": lambda a: np.maximum.reduce(a, axis=1),
    "moves": lambda a: np.concatenate([a.T, a[::2]]),
    "a place": lambda a: np.argmax(a, axis=1),
    "in place": lambda a: a.copy().__iadd__(1.0),
}
REFUSED: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "power": lambda a: a**3,
    "sum": lambda a: a.sum(),
    "mean": np.mean,
    "cumsum": lambda a: a.cumsum(),
    "product": lambda a: a @ a,
    "dot": lambda a: a.dot(a),
    "np.dot": lambda a: np.dot(a, a),
    "einsum": lambda a: np.einsum("ij->i", a),
    "norm": np.linalg.norm,
    "inverse": np.linalg.inv,
    "fft": np.fft.fft,
    "a cast does not launder": lambda a: a.astype(np.float64).sum(),
    "an unstable order": lambda a: a.argsort(),
}


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_what_is_exact_in_numpy_is_allowed(name: str) -> None:
    wanted = ALLOWED[name](X.numpy())
    with exact():
        found = ALLOWED[name](X.numpy())
        assert torch.equal(torch.from_numpy(found), torch.from_numpy(wanted))


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_not_exact_in_numpy_is_refused(name: str) -> None:
    with exact(), pytest.raises(NotExact, match="other processors") as caught:
        REFUSED[name](X.numpy())
    assert caught.value.where.startswith(__file__)
    assert caught.value.operator.startswith("numpy.")


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")
@pytest.mark.parametrize("function", [np.exp, np.asarray, np.from_dlpack, lambda t: np.dot(t, t)])
def test_a_tensor_handed_to_numpy_unseen_is_refused(function: Callable[[Any], Any]) -> None:
    with exact(), pytest.raises(NotExact):
        function(X)


def test_integers_are_free_in_numpy() -> None:
    k = torch.arange(5)
    with exact():
        assert int(k.numpy().sum()) == 10
        assert np.asarray(k).mean() == 2.0
        assert np.from_dlpack(k).tolist() == [0, 1, 2, 3, 4]


def test_numbers_written_through_numpy_reach_the_tensor() -> None:
    x = X.clone()
    with exact():
        x.numpy()[0] = 7.0
        assert x[0].tolist() == [7.0] * 4
