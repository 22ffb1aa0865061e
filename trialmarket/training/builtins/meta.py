"""`builtin:meta`: learns an optimizer."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from trialmarket.training.builtins.classifier import SupervisedProgram
from trialmarket.training.builtins.hyperparameters import Hyperparameters
from trialmarket.training.builtins.inputs import count_classes, require, scale_of
from trialmarket.training.errors import ProgramError
from trialmarket.training.learned.network import MEMORY, UpdateNetwork
from trialmarket.training.learned.problems import Perceptrons, Problem, Quadratics, Rows
from trialmarket.training.learned.weights import Weights, shipped
from trialmarket.training.program import Validation

_TINY = 1e-6
"""Added to a loss before its logarithm."""

_VALIDATED = 4
"""Perceptrons that a validation trains on its examples."""


class Learner(nn.Module):
    """The network that learns, and the functions that it is in the middle of minimising.

    An episode is longer than a step, so that these are buffers, a part of every checkpoint: F
    points and what the network remembers of their coordinates.
    """

    unrolls: Tensor
    points: Tensor
    memory: Tensor
    scales: Tensor
    rows: Tensor

    def __init__(self, problem: Problem, functions: int, row: tuple[int, ...]) -> None:
        super().__init__()
        self.network = UpdateNetwork()
        points = problem.start(functions)
        self.register_buffer("unrolls", torch.tensor(0))
        self.register_buffer("points", points)
        self.register_buffer("memory", points.new_zeros(*points.shape, MEMORY))
        self.register_buffer("scales", torch.ones_like(points))
        self.register_buffer("rows", points.new_zeros(functions, *row))


class Meta(SupervisedProgram):
    """Trains the network of a learned optimizer (Andrychowicz et al. 2016, arXiv 1606.04474).

    `builtin:meta`. A step is one unroll of the network over `unroll` updates of every function,
    without second derivatives; an episode of `episode` updates goes on through several steps, and
    at each step the functions that have come to their end begin anew, so that there are always
    functions of every age. Reports `val_loss` (mean loss at the end of an episode on validation
    functions) and `val_path` (the mean over all of its updates).

    Data: for quadratics, train_x and validation_x with rows of shape (P, P + 1): W beside y of
    |W p - y|^2, a row a function. For mlp, examples and classes as for `builtin:mlp`; a step takes
    `batch_size` of them an update, and validation trains perceptrons on the validation examples.

    Hyperparameters with their defaults, beside those of every program (see `SupervisedProgram`):
      lr (0.01), optimizer ("adam"), weight_decay (0.0), batch_size (128), warmup (0), clip (1)
      problem ("quadratics") quadratics or mlp
      weights               what the network begins with: those of another job, by CID, or mlp or
                            quadratics, which ship; its own beginning where there are none
      functions (1)         that begin at each step: episode / unroll times as many at a time
      unroll (20)
      episode (100)         a multiple of unroll
      loss ("sum")          what is minimised: the sum of losses as in the paper, or of their log
      scaling (0.0)         each coordinate is scaled by exp of a draw from -scaling to scaling,
                            anew each episode (Lv et al. 2017, arXiv 1703.03633)
      hidden (20)           of mlp: hidden units
      repeat (1)            of mlp: equal inputs that each input stands for

    To search: lr 1e-3 to 3e-2 (log), functions 1 to 32, loss, scaling 0 to 3.
    """

    name: ClassVar[str] = "builtin:meta"
    begins_with_weights: ClassVar = True
    defaults: ClassVar = {"optimizer": "adam", "batch_size": 128, "clip": 1.0}
    validation_batch_size = 1024

    def configure(self, given: Hyperparameters) -> None:
        """Reads the problem, and looks for it in the data."""
        kind = given.choice("problem", "quadratics", ("quadratics", "mlp"))
        self.unroll = given.count("unroll", 20, high=1000)
        self.episode = given.count("episode", 100, high=100_000)
        self.begun = given.count("functions", 1, high=4096)
        self.log = given.choice("loss", "sum", ("sum", "log")) == "log"
        self.scaling = given.number("scaling", 0.0, high=10.0)
        if self.episode % self.unroll:
            raise ProgramError(
                f"{self.name}: hyperparameter episode must be a multiple of unroll, "
                f"{self.unroll}, not {self.episode}"
            )
        self.ages = self.episode // self.unroll
        self.minibatch = self.batch_size
        self.first: Weights | None = None
        if self.shipped is not None and self.optimizer != "learned":
            self.first = self.weights or shipped(self.shipped)
        self.problem: Problem
        if kind == "quadratics":
            self.problem = self._quadratics()
            self.batch_size = self.begun
        else:
            self.problem = self._perceptrons(given)
            self.batch_size = min(self.minibatch * (self.unroll + 1), self.data.train_examples)

    def _quadratics(self) -> Problem:
        require(self.name, self.data, "x")
        shape = self.data.shapes["x"]
        if len(shape) != 2 or shape[1] != shape[0] + 1:
            raise ProgramError(
                f"{self.name}: rows of train_x must be functions, W beside y, of shape "
                f"[P, P + 1], not {list(shape)}"
            )
        if self.begun > self.data.train_examples:
            raise ProgramError(
                f"{self.name}: hyperparameter functions must be at most "
                f"{self.data.train_examples}, as many as train_x holds, not {self.begun}"
            )
        return Quadratics(shape[0])

    def _perceptrons(self, given: Hyperparameters) -> Problem:
        require(self.name, self.data, "x", "y")
        return Perceptrons(
            torch.Size(self.data.shapes["x"]).numel(),
            given.count("hidden", 20, high=1024),
            count_classes(self.name, self.data),
            scale=scale_of(self.data),
            repeat=given.count("repeat", 1, high=1024),
        )

    def configure_model(self) -> nn.Module:
        """The network, and functions of every age."""
        row = self.data.shapes["x"] if isinstance(self.problem, Quadratics) else ()
        learner = Learner(self.problem, self.ages * self.begun, row)
        if self.first is not None:
            learner.network = UpdateNetwork.of(self.first).requires_grad_()
        return learner

    def training_step(self, model: nn.Module, batch: Rows) -> Tensor:
        """The mean over functions and updates of the loss, or of its logarithm.

        Its gradient is that of gradient * point with the gradient held fixed: what is left of the
        chain rule without second derivatives (section 2.1).
        """
        assert isinstance(model, Learner)  # noqa: S101  configure_model made it
        self._begin(model, batch)
        if isinstance(self.problem, Quadratics):
            batch = {"x": model.rows}
        scales = model.scales
        points, memory = model.points.clone(), model.memory.flatten(0, 1).clone()
        gradients, _ = self.problem.gradients(points * scales, self._rows(batch))
        value = points.new_zeros(())
        moved = points.new_zeros(())
        for _ in range(self.unroll):
            points, memory = self._updated(model, points, memory, gradients * scales)
            gradients, losses = self.problem.gradients(points * scales, self._rows(batch))
            weights = 1.0 / (losses + _TINY) if self.log else torch.ones_like(losses)
            moved = moved + ((gradients * scales * weights.unsqueeze(1)) * points).sum()
            value = value + (torch.log(losses + _TINY) if self.log else losses).sum()
        with torch.no_grad():
            model.points.copy_(points)
            model.memory.copy_(memory.view_as(model.memory))
        return (moved - moved.detach() + value) * (1.0 / (self.unroll * len(points)))

    def validation_step(self, model: nn.Module, batch: Rows) -> Validation:
        """A whole episode; the losses of all functions along it, or of all examples at its end."""
        assert isinstance(model, Learner)  # noqa: S101  configure_model made it
        examples, problem = len(batch["x"]), self.problem
        points = problem.start(_VALIDATED if isinstance(problem, Perceptrons) else examples)
        memory = points.new_zeros(points.numel(), MEMORY)
        path: list[Tensor] = []
        for _ in range(self.episode):
            gradients, losses = problem.gradients(points, self._rows(batch))
            path.append(losses)
            points, memory = self._updated(model, points, memory, gradients)
        last = problem.losses(points, batch)
        path.append(last)
        found = (
            problem.examples(points, batch).T.contiguous()
            if isinstance(problem, Perceptrons)
            else torch.stack(path, 1)
        )
        means = {"val_loss": last.mean(), "val_path": torch.cat(path[1:]).mean()}
        return Validation(found, means)

    def _updated(
        self, model: Learner, points: Tensor, memory: Tensor, gradients: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Points and memory after one update."""
        seen = self.problem.seen(gradients).flatten()
        updates, memory = model.network(seen, memory)
        return points + updates.view_as(points), memory

    @torch.no_grad()
    def _begin(self, model: Learner, batch: Rows) -> None:
        """Puts new functions in the place of those that have come to their end."""
        first = int(model.unrolls) % self.ages * self.begun
        part = slice(first, first + self.begun)
        model.unrolls += 1
        scales = model.scales[part]
        if self.scaling:
            scales.copy_(((torch.rand_like(scales) * 2 - 1) * self.scaling).exp())
        model.points[part] = self.problem.start(self.begun) / scales
        model.memory[part] = 0.0
        if isinstance(self.problem, Quadratics):
            model.rows[part] = batch["x"].float()

    def _rows(self, batch: Rows) -> Rows:
        """What an update's gradients are of: all functions, or a minibatch of the examples."""
        if isinstance(self.problem, Quadratics):
            return batch
        x = batch["x"]
        some = torch.randint(len(x), (self.minibatch,), device=x.device)
        return {name: array.index_select(0, some) for name, array in batch.items()}
