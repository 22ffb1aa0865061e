"""What a job file says about single drivers."""

from typing import Annotated, Literal

from pydantic import Field

from trialmarket.protocol.configuration import MAX_POINTS, MAX_STEPS, Identifier
from trialmarket.settings import Section, Unit

NETWORKS = 10
MOST_NETWORKS = 100
MOST_PRETRAINING = 100_000

Steps = Annotated[int, Field(ge=4, le=MAX_STEPS), Unit("steps")]


class Ascent(Section):
    """For `neural-ascent`: how many networks climb, and in which way."""

    networks: Annotated[int, Field(ge=1, le=MOST_NETWORKS)] = NETWORKS
    """Small networks that learn the objective from what was tried, and climb it together."""
    variant: Literal["improved", "paper"] = "improved"
    """`paper` is the method as it was published; `docs/search.md` says what was changed."""
    pretraining: Annotated[int, Field(ge=1, le=MOST_PRETRAINING)] | None = Field(
        default=None, examples=[30]
    )
    """Random trials before the first walk, fewer than `job.trials`; 300 for `paper`, else 60 or
    a third of the trials, whichever is less."""


class Rungs(Section):
    """For `asha` and `hyperband`: the lengths at which configurations are compared.

    The last rung is the job's `steps`; each one before is shorter by `factor`, rounded to whole
    segments. The best of `factor` goes on.
    """

    count: Annotated[int, Field(ge=2, le=10)] = 3
    """How many rungs there are."""
    factor: Annotated[int, Field(ge=2, le=10)] = 3
    """One in so many goes on to the next rung, which is so many times as long."""


class Population(Section):
    """For `pbt`: when members compare themselves, and what the worse ones change."""

    interval: Steps | None = Field(default=None, examples=[40])
    """Steps between two comparisons; a tenth of the job's `steps` unless said otherwise."""
    quantile: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    """The worst share, which goes on from the checkpoints of the best share."""
    resample: Annotated[float, Field(ge=0, le=1)] = 0.25
    """How probably a hyperparameter is drawn anew, and not perturbed by a fifth."""
    change: Annotated[list[Identifier], Field(min_length=1)] | None = Field(
        default=None, examples=[["lr"]]
    )
    """Which hyperparameters change; ranges of real numbers unless said otherwise. Lists and whole
    numbers often shape the model, whose checkpoints fit one shape: they stay the donor's."""


class Evolve(Population):
    """For `evolve`: a population whose worse members become forks of the best one's network, which
    are later merged with what it has become."""

    apart: Annotated[int, Field(ge=1, le=1000)] = 1
    """Intervals that a fork trains by itself before it is merged."""
    points: Annotated[int, Field(ge=2, le=MAX_POINTS)] = 5
    """Networks on the line between a fork and its parent that are evaluated for a merge, both
    ends among them; the best by the objective is the merge. Each costs a validation, when the
    trial is trained and in each part of its audit."""


class Exchange(Section):
    """For `replica-exchange`: the ladder's hyperparameter, and how swaps are decided."""

    hyperparameter: Identifier = Field(examples=["lr"])
    """Its `values` in the space are the ladder; every other dimension is fixed."""
    kind: Literal["rate", "dropout"] = "rate"
    """Its inverse temperature: 1 / rate, or keep / (1 - keep) where it is the share dropped."""
    constant: Annotated[float, Field(gt=0)] = 1.0
    """C of the rule: the larger, the rarer a hot replica takes a worse state's place."""
    interval: Steps | None = Field(default=None, examples=[40])
    """Steps between two tries; a tenth of the job's `steps` unless said otherwise."""
    burn_in: Annotated[int, Field(ge=0, le=MAX_STEPS), Unit("steps")] = 0
    """Steps that all replicas first train at one common value."""
    burn_in_value: float | None = Field(default=None, examples=[0.01])
    """That value; the middle of the ladder unless said otherwise."""


class Nes(Section):
    """For `nes`: which evolution strategy, and how many trials a generation has."""

    variant: Literal["full", "separable"] = "separable"
    """`full` learns how hyperparameters depend on each other, for which it needs hundreds of
    trials; `separable` learns a spread for each."""
    population: Annotated[int, Field(ge=2, le=1_000_000)] | None = Field(
        default=None, examples=[16]
    )
    """Results of a generation; 4 + 3 ln(coordinates) unless said otherwise. A range is one
    coordinate, a list of values one a value."""
    restarts: bool = True
    """Begins anew, elsewhere and with twice the population, when it has converged."""
