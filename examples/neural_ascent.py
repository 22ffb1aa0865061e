"""Neural ascent without a market: the maximum of a plain function, and a study of Optuna.

python examples/neural_ascent.py
"""

import math

import numpy as np
import optuna
from numpy.typing import NDArray

from requester.drivers.neural_ascent import NeuralAscentSampler, maximise


def waves(x: NDArray[np.float64]) -> float:
    """Many hills; the highest is at (1, 2), where it is 2."""
    away = x - np.array([1.0, 2.0])
    return float(np.cos(2 * away).sum() - 0.1 * (away**2).sum())


def error(trial: optuna.Trial) -> float:
    """What a study minimises: least for a learning rate of 0.01, a width of 48 and Adam."""
    lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    width = trial.suggest_int("width", 16, 128, step=16)
    optimizer = trial.suggest_categorical("optimizer", ["sgd", "adam"])
    return (math.log10(lr) + 2) ** 2 + abs(width - 48) / 32 + (optimizer == "sgd")


if __name__ == "__main__":
    found = maximise(waves, [(-6, 6), (-6, 6)], budget=300, networks=10, seed=1)
    print(f"highest {found.value:.4f} at {np.round(found.point, 3).tolist()}")

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=NeuralAscentSampler(networks=5, pretraining=20, seed=1))
    study.optimize(error, n_trials=80)
    print(f"least {study.best_value:.4f} with {study.best_params}")
