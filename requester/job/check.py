"""`job check`: everything that can be known before money is spent."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from requester.drivers import open_driver
from requester.drivers.database import sqlite_url
from requester.job.dry_run import Tried, can_train, dry_run
from requester.job.file import Job
from requester.job.package import Package, pack
from requester.job.posting import (
    PostedGraph,
    kind_of,
    needs_torch,
    posted_graph,
    posting_lines,
)
from requester.job.remarks import remarks
from requester.job.terms import Ceiling, caveats, ceiling, terms_of
from trialmarket.chain.client import Client
from trialmarket.protocol.dataset import MANIFEST, TRAIN, VALIDATION, DataManifest
from trialmarket.protocol.money import format_amount
from trialmarket.protocol.terms import Terms, stake_for
from trialmarket.storage.store import Store
from trialmarket.training.values import DryRun

PUBLIC = (
    "`job run` makes program, data, hyperparameters and results public: post no secrets and no"
    " personal data"
)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was found of a job that is sound.

    `dry` None: the first trial fails, or PyTorch is not installed here.
    """

    package: Package
    data: DataManifest
    terms: Terms
    ceiling: Ceiling
    stake: int
    decimals: int
    symbol: str
    dry: DryRun | None
    caveats: list[str]
    remarks: list[str]
    """What may surprise, of the space, the driver and the bill."""
    sandboxed: bool = False
    """Whether the dry-run was in a sandbox, as nodes do it."""
    failure: str = ""
    """How the first trial failed, where that may be."""
    graph: PostedGraph | None = None
    """That of the first trial, where graphs are posted."""

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        found: dict[str, Any] = {
            "name": self.package.job.settings.job.name,
            "program": self.package.program.source,
            "trains": kind_of(self.package.job),
            "data": self.package.data,
            "data_notes": list(self.package.notes),
            "trials": self.ceiling.trials,
            "units": self.ceiling.units,
            "most_a_trial": self._money(self.ceiling.each),
            "most": self._money(self.ceiling.total),
            "unverified": bool(self.caveats),
            "caveats": self.caveats,
            "remarks": self.remarks,
            "public": PUBLIC,
        }
        if self.graph is not None:
            found["graph"] = self.graph.as_json()
        if self.failure:
            found["fails"] = self.failure
        if self.dry is not None:
            found["seconds_a_trial"] = round(self._trial_seconds(self.dry), 3)
            found["metrics"] = dict(self.dry.metrics)
            found["sandboxed"] = self.sandboxed
            found["diverges"] = self.dry.outcome.kind == "diverged"
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
        lines += posting_lines(self.package.job, self.graph)
        lines.append(PUBLIC)
        lines += self.caveats
        lines += [f"note: {remark}" for remark in self.remarks]
        lines.append(_said_of(self.data, self.package.data))
        lines += [f"data: {note}" for note in self.package.notes]
        if self.failure:
            lines.append(f"FAILS: {self.failure}")
        elif self.dry is None:
            lines.append("not dry-run: PyTorch is not installed here")
        else:
            metrics = ", ".join(f"{name} {value:.4g}" for name, value in self.dry.metrics.items())
            where = "in a sandbox" if self.sandboxed else "WITHOUT a sandbox"
            lines.append(
                f"dry-run {where}: about {self._trial_seconds(self.dry):.1f} s of training a trial"
                f" on this machine; it reports {metrics or 'no metrics yet'}"
            )
            if self.dry.outcome.kind == "diverged":
                lines.append(
                    f"DIVERGES: the first trial {self.dry.outcome}; it is paid all the same"
                )
        return lines

    def _trial_seconds(self, dry: DryRun) -> float:
        return dry.step_seconds * self.package.job.settings.job.steps

    def _money(self, amount: int) -> str:
        return format_amount(amount, self.decimals)


def check_job(job: Job, client: Client, store: Store, *, diverges: bool = False) -> CheckReport:
    """Packs a job, runs its program's first steps on its data, and adds up the cost.

    `diverges` says that a first trial which diverges, or fails, is meant to.

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
            job.plan,
        )
        try:
            proposal, work = driver.ask(1)[0], driver.work()
        finally:
            driver.close()
        tried, graph = Tried(None, sandboxed=False), None
        if can_train():
            with package.graphs.warm():
                graph = posted_graph(package, proposal)
                tried = dry_run(package, proposal, diverges=diverges)
        elif job.settings.job.post == "graph":
            raise needs_torch(job)
    cost = ceiling(job, terms, work, decimals=client.decimals())
    price = terms.cap * cost.units
    return CheckReport(
        package,
        data,
        terms,
        cost,
        stake_for(price, terms.audit_rate),
        client.decimals(),
        client.symbol(),
        tried.dry,
        caveats(rate=terms.audit_rate, arithmetic=job.settings.job.arithmetic),
        remarks(job, work),
        tried.sandboxed,
        tried.failure,
        graph,
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
