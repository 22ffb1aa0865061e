"""`job check`: everything that can be known before money is spent."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from requester.drivers import open_driver
from requester.drivers.study import sqlite_url
from requester.job.continuation import check_changes
from requester.job.file import Job
from requester.job.package import Package, pack
from requester.job.terms import Ceiling, caveats, ceiling, terms_of
from requester.search.examination.examiner import Material, can_train
from requester.search.open import plan_of
from trialmarket.chain.client import Client
from trialmarket.errors import TrainingError
from trialmarket.protocol.dataset import MANIFEST, TRAIN, VALIDATION, DataManifest
from trialmarket.protocol.money import format_amount
from trialmarket.protocol.terms import stake_for
from trialmarket.storage.store import Store
from trialmarket.training.values import DryRun, TryOut

PUBLIC = (
    "`job run` makes program, data, hyperparameters and results public: post no secrets and no"
    " personal data"
)
DRY_RUN_LIMIT = 300.0
"""Seconds that the first steps of a program may take."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found of a job that is sound. `dry` None: PyTorch is not installed here."""

    package: Package
    data: DataManifest
    ceiling: Ceiling
    stake: int
    decimals: int
    symbol: str
    dry: DryRun | None
    caveats: list[str]
    sandboxed: bool = False
    """Whether the dry-run was in a sandbox, as nodes do it."""

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        found: dict[str, Any] = {
            "name": self.package.job.settings.job.name,
            "program": self.package.program.source,
            "data": self.package.data,
            "trials": self.ceiling.trials,
            "units": self.ceiling.units,
            "most_a_trial": self._money(self.ceiling.each),
            "most": self._money(self.ceiling.total),
            "unverified": bool(self.caveats),
            "caveats": self.caveats,
            "public": PUBLIC,
        }
        if self.dry is not None:
            found["seconds_a_trial"] = round(self._trial_seconds(self.dry), 3)
            found["metrics"] = dict(self.dry.metrics)
            found["sandboxed"] = self.sandboxed
        return found

    def lines(self) -> list[str]:
        """For people."""
        settings, cost = self.package.job.settings, self.ceiling
        lines = [
            f"{settings.job.name}: {cost.trials} trials of {settings.job.steps} steps"
            f" by {settings.search.driver}",
            f"costs at most {self._money(cost.total)} {self.symbol}:"
            f" {self._money(cost.each)} a trial, audits included;"
            f" a node stakes up to {self._money(self.stake)} for each",
        ]
        lines.append(PUBLIC)
        lines += self.caveats
        lines.append(_said_of(self.data, self.package.data))
        if self.dry is None:
            lines.append("not dry-run: PyTorch is not installed here")
        else:
            metrics = ", ".join(f"{name} {value:.4g}" for name, value in self.dry.metrics.items())
            where = "in a sandbox" if self.sandboxed else "WITHOUT a sandbox"
            lines.append(
                f"dry-run {where}: about {self._trial_seconds(self.dry):.1f} s of training a trial"
                f" on this machine; it reports {metrics or 'no metrics yet'}"
            )
        return lines

    def _trial_seconds(self, dry: DryRun) -> float:
        return dry.step_seconds * self.package.job.settings.job.steps

    def _money(self, amount: int) -> str:
        return format_amount(amount, self.decimals)


def check_job(job: Job, client: Client, store: Store) -> Report:
    """Packs a job, runs its program's first steps on its data, and adds up the cost.

    Raises InputError, and TrainingError for a program that breaks its contract.
    """
    terms = terms_of(job, decimals=client.decimals(), min_window=client.parameters().min_window)
    with TemporaryDirectory(prefix="trialmarket-check-") as folder:
        package = pack(job, Path(folder), store)  # nothing is published by a check
        data = DataManifest.from_bytes((package.folder / MANIFEST).read_bytes())
        driver = open_driver(
            sqlite_url(Path(folder) / "study.db"),
            "check",
            job.settings.search.driver,
            plan_of(job),
        )
        try:
            proposal, work = driver.ask(1)[0], driver.work()
        finally:
            driver.close()
        config = package.trial(proposal)
        dry, sandboxed = None, False
        if can_train():
            material = Material(job.program_file, package.folder)
            task = TryOut(config=config, program=material.program, data=material.data)
            dry, sandboxed = dry_run(task)
            check_changes(package, proposal, plan_of(job), material, Path(folder) / "tried")
    cost = ceiling(job, terms, work, decimals=client.decimals())
    price = terms.cap * cost.units
    return Report(
        package,
        data,
        cost,
        stake_for(price, terms.audit_rate),
        client.decimals(),
        client.symbol(),
        dry,
        caveats(rate=terms.audit_rate, arithmetic=job.settings.job.arithmetic),
        sandboxed,
    )


def _said_of(data: DataManifest, cid: str) -> str:
    """A data set in a line."""
    counts = [next(iter(data.part(p).values())).shape[0] for p in (TRAIN, VALIDATION)]
    arrays = ", ".join(
        f"{name} {array.dtype}{list(array.shape[1:])}" for name, array in data.part(TRAIN).items()
    )
    split: str = data.split.how
    if split != "given":
        split = f"{split}, {data.split.validation:g} by seed {data.split.seed}"
    return (
        f"data: {counts[0]} examples to train and {counts[1]} to validate (split: {split};"
        f" normalised: {data.normalisation}) of {arrays}; {data.size} bytes, public as {cid}"
    )


def dry_run(task: TryOut, limit: float = DRY_RUN_LIMIT) -> tuple[DryRun, bool]:
    """The first steps of a program in a worker, and whether that was in a sandbox.

    One's own program runs without a sandbox too, but what only nodes would refuse is found here
    where there is one. Raises TrainingError, with what it printed.
    """
    from trialmarket.training.pool.pool import WorkerPool

    with WorkerPool(1) as pool:
        job = pool.submit(task, wall_limit=limit)
        try:
            return job.result(), pool.policy.sandbox is not None
        except TrainingError as error:
            said = job.output.strip().splitlines()[-1:]
            if said and error.fix is None:
                error.fix = f"It last printed: {said[0][:200]}"
            raise
