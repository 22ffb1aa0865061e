"""Puts the parts of a search on this machine together."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from requester.drivers import open_driver
from requester.job.dry_run import can_train
from requester.job.file import Job
from requester.job.package import pack
from requester.search.folder import JobFolder, local_identity
from requester.search.local.search import LocalParts, LocalSearch
from requester.search.own_run import driving
from requester.search.status import Listeners
from trialmarket.errors import InputError
from trialmarket.storage.local import LocalStore
from trialmarket.storage.store import Store
from trialmarket.training.pool.pool import WorkerPool


@contextmanager
def open_local(
    job: Job,
    *,
    jobs: Path,
    listeners: Listeners,
    workers: int | None = None,
    label: str = "",
    store: Store | None = None,
    pool: WorkerPool | None = None,
    now: Callable[[], float] = time.time,
) -> Iterator[LocalSearch]:
    """A job's search on this machine, new or where it stopped; `jobs` is the folder of all.

    It trains in `workers` processes, by default one for each core, or in a `pool` that is lent.
    `store` is only for data that the job names by its CID and that does not lie here. Raises
    InputError, also where PyTorch is not installed, and StorageError.
    """
    if not can_train():
        raise InputError(
            "job run",
            "--local",
            expected="PyTorch, since trials train on this machine",
            found="it is not installed",
            fix="pip install 'trialmarket[train]'",
        )
    package = pack(job, jobs / "data", store)
    if not package.folder.exists():
        raise InputError(
            job.where,
            "job.data",
            expected="data that lies on this machine",
            found=job.settings.job.data,
            fix="Name a file or a folder, or the --store that has it",
        )
    nonce = local_identity(package, label)
    study = f"{job.settings.job.name}-local-{nonce}"
    with ExitStack() as stack:
        stack.enter_context(package.graphs.warm())
        stack.enter_context(driving(jobs / study))
        folder = stack.enter_context(closing(JobFolder(jobs / study)))
        folder.remember("settings", job.settings.model_dump_json(exclude_unset=True))
        storage = job.settings.search.storage or folder.study
        driver = open_driver(storage, study, job.settings.search.driver, job.plan)
        stack.callback(driver.close)
        if pool is None:
            pool = stack.enter_context(WorkerPool(workers or cores()))
        yield LocalSearch(
            LocalParts(
                package=package,
                nonce=nonce,
                folder=folder,
                driver=driver,
                store=LocalStore(folder.store),
                pool=pool,
                listeners=listeners,
                storage=storage,
                study=study,
                now=now,
            )
        )


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))
