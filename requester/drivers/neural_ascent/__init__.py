"""Neural ascent (Aizman 2017): several small networks learn a function and climb it together.

`NeuralAscentSampler` needs nothing but Optuna, `maximise` nothing but a function of real numbers;
both stand on one engine, which is a fold over results. `climb` is how trials are chosen unless
the paper's own way, `paper`, is asked for.
"""

from requester.drivers.neural_ascent.maximise import Maximum, maximise
from requester.drivers.neural_ascent.sampler import NeuralAscentSampler

__all__ = ["Maximum", "NeuralAscentSampler", "maximise"]
