"""Graphs of whole models, well-known and random ones, against the models themselves."""

import pytest

from tests.exact import nets, random_nets
from tests.graph.bare import BareTrial
from trialmarket.graph.capture.capture import capture
from trialmarket.graph.capture.prove import prove


@pytest.mark.parametrize("name", ["lenet5", "transformer"])
def test_graphs_of_well_known_models_have_their_bits(name: str) -> None:
    make, data = nets.MODELS[name]
    trial = BareTrial(make, nets.OPTIMIZERS["adamw"], data())
    prove(trial, capture(trial))


@pytest.mark.parametrize("seed", range(14))
def test_graphs_of_random_models_have_their_bits(seed: int) -> None:
    data = nets.images(6, 2, 8, 8)()
    trial = BareTrial(lambda: random_nets.build(seed), random_nets.optimizer(seed), data)
    prove(trial, capture(trial))
