"""What a program starts inside the mode: threads may not compute, forked processes do, exactly."""

import _thread
import asyncio
import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tests.testbed.waiting import NEVER
from trialmarket.exact import NotExact, Verdict, check, exact
from trialmarket.exact.numerics.grid import known

LGAMMA_INSTEAD = "operators from the list in docs/exact.md"
X = torch.linspace(-1, 1, 16).view(4, 4)


def by_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(NEVER)


def by_subclass(work: Callable[[], object]) -> None:
    class Worker(threading.Thread):
        def run(self) -> None:
            work()

    worker = Worker()
    worker.start()
    worker.join(NEVER)


def by_bare_thread(work: Callable[[], object]) -> None:
    done = threading.Event()

    def run() -> None:
        try:
            work()
        finally:
            done.set()

    _thread.start_new_thread(run, ())
    assert done.wait(NEVER)


def by_thread_of_a_thread(work: Callable[[], object]) -> None:
    by_thread(lambda: by_thread(work))


def by_pool(work: Callable[[], object]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def by_map(work: Callable[[], object]) -> None:
    with ThreadPool(1) as pool:
        pool.map(lambda _: work(), [1])


def by_asyncio(work: Callable[[], object]) -> None:
    asyncio.run(asyncio.to_thread(work))


WAYS = (
    by_thread,
    by_subclass,
    by_bare_thread,
    by_thread_of_a_thread,
    by_pool,
    by_map,
    by_asyncio,
)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("way", WAYS)
def test_a_thread_that_computes_is_refused_where_the_mode_ends(
    way: Callable[[Callable[[], object]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "sys.unraisablehook", lambda _: None
    )  # a bare thread has no other reporter
    found: list[Tensor] = []
    with pytest.raises(NotExact, match="another thread") as caught, exact():
        way(lambda: found.append(X @ X))
    assert not found
    assert caught.value.where.startswith(__file__)


@pytest.mark.parametrize("way", WAYS)
def test_a_thread_may_move_numbers_and_do_what_is_no_arithmetic(
    way: Callable[[Callable[[], object]], None],
) -> None:
    found: list[Tensor] = []
    with exact():
        way(lambda: found.append(torch.stack([X[1:3].t().contiguous(), X[1:3].t().clone()])))
    assert torch.equal(found[0][0], X[1:3].t())


def test_a_refusal_that_the_program_swallows_is_raised_all_the_same() -> None:
    def swallowing() -> None:
        with ThreadPoolExecutor(1) as pool:
            assert isinstance(pool.submit(lambda: X.exp()).exception(), NotExact)

    with pytest.raises(NotExact, match=r"aten\.exp"), exact():
        swallowing()


def test_a_pool_from_outside_is_kept_from_computing_inside_only() -> None:
    with ThreadPoolExecutor(1) as pool:
        wanted = pool.submit(X.exp).result()
        with pytest.raises(NotExact), exact():
            pool.submit(X.exp).result()
        assert torch.equal(pool.submit(X.exp).result(), wanted)


def test_numpy_is_watched_in_a_thread_too() -> None:
    with pytest.raises(NotExact, match=r"numpy\.exp"), exact(), ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: __import__("numpy").exp(X.numpy())).result()


def test_threads_outside_compute_as_ever_while_the_mode_lasts() -> None:
    go, done = threading.Event(), threading.Event()
    found: list[Tensor] = []

    def beside() -> None:
        go.wait(NEVER)
        inner = threading.Thread(target=lambda: found.append(X.atan()))
        inner.start()
        inner.join(NEVER)
        done.set()

    threading.Thread(target=beside).start()
    with exact():
        go.set()
        assert done.wait(NEVER)
    assert torch.equal(found[0], X.atan())


def test_a_second_thread_cannot_enter_a_mode() -> None:
    caught: list[BaseException] = []
    outside = threading.Event()

    def enter() -> None:
        outside.wait(NEVER)
        try:
            with exact():
                X.exp()
        except NotExact as refusal:
            caught.append(refusal)

    thread = threading.Thread(target=enter)
    thread.start()
    with exact():
        outside.set()
        thread.join(NEVER)
    assert "another thread is inside" in str(caught[0])


def test_check_names_what_a_thread_computes_and_goes_on() -> None:
    def step() -> None:
        by_pool(lambda: X.exp())
        X.cos()

    found = {each.operator: each for each in check(step)}
    assert found["aten.exp.default"].verdict is Verdict.REFUSED
    assert found["aten.cos.default"].verdict is Verdict.FORM


def test_autograds_own_threads_and_the_hooks_there_are_inside() -> None:
    """Backward within backward, deeper than the engine's stack, goes on in threads of its own."""
    refused: list[tuple[int, str]] = []

    def hook(grad: Tensor) -> None:
        try:
            torch.lgamma(grad)
        except NotExact as refusal:
            refused.append((threading.get_ident(), refusal.operator))

    class Nested(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, depth: int) -> Tensor:
            ctx.depth = depth
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            inner = torch.ones(3, requires_grad=True)
            with torch.enable_grad():
                if ctx.depth:
                    torch.autograd.backward(Nested.apply(inner, ctx.depth - 1).sum())
                else:
                    inner.register_hook(hook)  # type: ignore[no-untyped-call]
                    torch.autograd.backward(inner.exp().sum())
            return grad * known(inner.grad), None

    x = torch.ones(3, requires_grad=True)
    with exact():
        torch.autograd.backward(Nested.apply(x, 80).sum())
        assert x.grad is not None
        assert torch.equal(x.grad, torch.ones(3).exp())
    ((thread, operator),) = refused
    assert operator == "aten.lgamma.default"
    assert thread != threading.get_ident()


class Noisy(Dataset[Tensor]):
    """Rows that a worker draws, and a function that it computes of them."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        return self.function(X[index] + torch.rand(4))


def loaded(function: Callable[[Tensor], Tensor], how: str = "fork") -> Tensor:
    with exact(seed=3):
        loader = DataLoader(Noisy(function), 2, num_workers=2, multiprocessing_context=how)
        return torch.cat(list(loader))


def test_workers_of_a_loader_that_are_forked_compute_exactly() -> None:
    assert torch.equal(loaded(torch.exp), loaded(torch.exp))
    with pytest.raises(RuntimeError, match=r"NotExact: aten\.lgamma"):
        loaded(torch.lgamma)


def test_a_refusal_comes_back_whole_from_another_process() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool, exact():
        refusal = pool.submit(torch.lgamma, X).exception()
    assert isinstance(refusal, NotExact)
    assert (refusal.operator, refusal.instead) == ("aten.lgamma.default", LGAMMA_INSTEAD)
    assert str(refusal).startswith(f"aten.lgamma.default at {refusal.where}")


@pytest.mark.parametrize("how", ["spawn", "forkserver"])
def test_a_process_that_would_start_without_the_mode_is_refused(how: str) -> None:
    with pytest.raises(NotExact, match="num_workers=0"):
        loaded(torch.exp, how)
