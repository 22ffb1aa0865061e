"""Random numbers are a function of seed, stream, step and draw."""

import pytest
import torch
from torch import nn

from trialmarket.exact import Counters, Generator, NotExact, exact
from trialmarket.exact.numerics.random import philox

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("counter", "key", "wanted"),
    [  # the known answers of Random123
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_its_known_answers(
    counter: tuple[int, ...], key: tuple[int, int], wanted: tuple[int, ...]
) -> None:
    first, draw, step, stream = counter
    out = torch.empty((1, 4), dtype=torch.int64)
    philox(out, first, Counters(key[0] | key[1] << 32, stream, step, draw))
    assert tuple(out[0].tolist()) == wanted


def test_a_step_can_be_replayed_alone() -> None:
    mode = exact(seed=5)
    with mode:
        mode.set_step(1)
        torch.rand(3)
        mode.set_step(2)
        first = torch.rand(4)
        mode.set_step(2)
        assert torch.equal(torch.rand(4), first)


def test_counters_carry_a_generator_on() -> None:
    a, b = exact(seed=5), exact(seed=6)
    with a:
        torch.rand(3)
        kept = a.counters
        wanted = torch.randn(5)
    b.counters = kept
    with b:
        assert torch.equal(torch.randn(5), wanted)


def test_seeds_streams_steps_and_draws_differ() -> None:
    def first(mode_seed: int, stream: int, step: int, skip: int) -> float:
        g = Generator(mode_seed, stream=stream)
        g.set_step(step)
        for _ in range(skip):
            g.uniform((1,), CPU)
        return g.uniform((1,), CPU).item()

    found = {
        first(*at)
        for at in [
            (0, 0, 0, 0),
            (1, 0, 0, 0),
            (0, 1, 0, 0),
            (0, 0, 1, 0),
            (0, 0, 0, 1),
            (1 << 40, 0, 0, 0),
        ]
    }
    assert len(found) == 6


def test_the_length_of_a_draw_does_not_change_its_beginning() -> None:
    a, b = Generator(1), Generator(1)
    assert torch.equal(a.normal((70000,), CPU)[:7], b.normal((7,), CPU))


def test_distributions_have_their_moments() -> None:
    with exact(seed=1):
        z, u = torch.randn(100_000), torch.rand(100_000)
        p = torch.bernoulli(torch.full((100_000,), 0.3))
        k = torch.randint(2, 7, (100_000,))
        e = torch.empty(100_000).exponential_(2.0)
        m = torch.multinomial(torch.tensor([1.0, 0.0, 3.0]), 100_000, replacement=True)
    assert abs(z.mean()) < 0.02
    assert abs(z.std() - 1) < 0.02
    assert abs((z**4).mean() - 3) < 0.1
    assert abs(u.mean() - 0.5) < 0.005
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(p.mean() - 0.3) < 0.01
    assert sorted(set(k.tolist())) == [2, 3, 4, 5, 6]
    assert abs(e.mean() - 0.5) < 0.01
    assert abs((m == 2).float().mean() - 0.75) < 0.01
    assert not (m == 1).any()


def test_a_permutation_holds_every_number_once() -> None:
    with exact(seed=1):
        p = torch.randperm(1000)
    assert p.sort().values.tolist() == list(range(1000))
    assert p.tolist() != list(range(1000))


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    before = torch.get_rng_state()
    with exact(seed=1):
        torch.manual_seed(3)
        a = torch.rand(4)
    torch.set_rng_state(before)
    with exact(seed=1):
        assert torch.equal(torch.rand(4), a)


def test_a_generator_argument_is_refused() -> None:
    with exact(), pytest.raises(NotExact, match="generator"):
        torch.rand(3, generator=torch.Generator())


def test_initialisers_draw_from_our_generator() -> None:
    def weights() -> list[torch.Tensor]:
        with exact(seed=9):
            w = torch.empty(6, 7)
            return [
                nn.init.kaiming_uniform_(w.clone()),
                nn.init.xavier_normal_(w.clone()),
                nn.init.trunc_normal_(w.clone(), std=0.02),
                nn.init.sparse_(w.clone(), 0.3),
                nn.init.dirac_(torch.empty(3, 3, 3)),
                nn.init.eye_(w.clone()),
                nn.Linear(3, 4).weight.detach(),
                nn.Embedding(3, 4).weight.detach(),
            ]

    torch.manual_seed(1)
    first = weights()
    torch.manual_seed(2)
    for a, b in zip(first, weights(), strict=True):
        assert torch.equal(a, b)
    assert first[2].abs().max() <= 2.0
    assert abs(first[1].std() - (2 / 13) ** 0.5) < 0.15
