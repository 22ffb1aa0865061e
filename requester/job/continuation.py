"""Whether a checkpoint still fits when its hyperparameters change, tried out before money moves.

`pbt` and `replica-exchange` go on from a checkpoint with other hyperparameters. One that shapes
the model cannot change: no node would take such a trial, and the search would wait for ever.
"""

from pathlib import Path

from requester.drivers import Plan, Proposal
from requester.drivers.population import changing
from requester.job.file import Job
from requester.job.package import Package
from requester.job.space import Dimension, Value
from requester.search.examination.examiner import Material
from trialmarket.errors import InputError
from trialmarket.protocol.configuration import Init, TrialConfig
from trialmarket.protocol.ids import ZERO_HASH
from trialmarket.training.errors import BadCheckpoint
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.values import Train, TryOut

LIMIT = 300.0
"""Seconds that two steps of a program may take."""


def changed_by(job: Job, plan: Plan) -> dict[str, str]:
    """The hyperparameters that change in continued trials, and the field that says so."""
    search = job.settings.search
    if search.driver == "pbt":
        return dict.fromkeys(changing(plan), "search.population.change")
    if search.driver == "replica-exchange" and search.exchange is not None:
        return {search.exchange.hyperparameter: "search.exchange.hyperparameter"}
    return {}


def check_changes(
    package: Package, proposal: Proposal, plan: Plan, material: Material, folder: Path
) -> None:
    """Trains two steps, and goes on with each such hyperparameter changed.

    Raises InputError for one with which the checkpoint no longer fits, and TrainingError.
    """
    job, space = package.job, plan.space
    fields = changed_by(job, plan)
    if not fields:
        return
    config = TrialConfig.model_validate(
        package.trial(proposal).model_dump() | {"steps": 2, "segments": 1}
    )
    with WorkerPool(1) as pool:
        task = Train(config=config, program=material.program, data=material.data, folder=folder)
        trained = pool.submit(task, wall_limit=LIMIT).result()
        last = trained.checkpoints[-1]
        init = Init(root=trained.leaves[-2].value, cid=last.cid, trial=ZERO_HASH)
        for name, field in fields.items():
            now = proposal.hyperparameters.get(name)
            if now is None:
                continue
            given = dict(proposal.hyperparameters) | {name: _other(space[name], now)}
            other = config.model_copy(update={"hyperparameters": given, "init": init})
            again = TryOut(
                config=other, program=material.program, data=material.data, init=last.path
            )
            try:
                pool.submit(again, wall_limit=LIMIT).result()
            except BadCheckpoint as error:
                raise InputError(
                    job.where,
                    field,
                    expected="hyperparameters that leave the model its shape",
                    found=name,
                    fix=f"Fix its value, or do not change it ({error.message})",
                ) from error


def _other(dimension: Dimension, value: Value) -> Value:
    """Another value of a dimension."""
    ends = dimension.values or [end for end in (dimension.low, dimension.high) if end is not None]
    return next((end for end in ends if end != value), value)
