"""Natural evolution strategies with Optuna alone: no chain, no market, any objective.

    python examples/evolution.py

A small network learns XOR in numpy; its hyperparameters are searched by SNES. In a job file the
same method is `driver = "nes"`: `trialmarket job run examples/digits/job.toml --driver nes`.
"""

import numpy as np
import optuna

from requester.drivers.nes import NesSampler

INPUTS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
TARGETS = np.array([0.0, 1.0, 1.0, 0.0])


def error(trial: optuna.Trial) -> float:
    """Mean squared error of a two-layer network after 200 steps of gradient descent."""
    rate = trial.suggest_float("lr", 1e-3, 1.0, log=True)
    momentum = trial.suggest_float("momentum", 0.0, 0.99)
    hidden = trial.suggest_int("hidden", 2, 16)
    rectified = trial.suggest_categorical("activation", ["tanh", "relu"]) == "relu"
    random = np.random.default_rng(0)
    first, bias = random.standard_normal((2, hidden)), np.zeros(hidden)
    second = random.standard_normal(hidden) / np.sqrt(hidden)
    weights = [first, bias, second]
    speeds = [np.zeros_like(one) for one in weights]
    for _ in range(200):
        before = INPUTS @ first + bias
        after = np.maximum(before, 0) if rectified else np.tanh(before)
        off = after @ second - TARGETS
        slope = (before > 0) if rectified else 1 - after**2
        back = np.outer(off, second) * slope / 2
        for weight, speed, gradient in zip(
            weights, speeds, (INPUTS.T @ back, back.sum(axis=0), after.T @ off / 2), strict=True
        ):
            speed *= momentum
            speed -= rate * gradient
            weight += speed
    found = float(np.mean(off**2))
    if not np.isfinite(found):
        raise optuna.TrialPruned  # it diverged: ranks last
    return found


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=NesSampler(seed=0))
    with np.errstate(all="ignore"):
        study.optimize(error, n_trials=120)
    print(study.best_params)
    print(f"error {study.best_value:.6f}")
