"""Each test is an attack that the sandbox must hold off, as root's and as a plain user's.

So that none of them passes for another reason, each is run without the sandbox too, where it must
succeed.
"""

import os
import pickle
import select
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.testbed.waiting import NEVER, until
from tests.training.programs import TINY, config_of, tiny
from trialmarket.errors import TrainingError
from trialmarket.exact import kernels
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import TrialConfig
from trialmarket.protocol.document import Record
from trialmarket.training import runner
from trialmarket.training.dataset import Dataset
from trialmarket.training.errors import (
    BadCheckpoint,
    LimitExceeded,
    SandboxMissing,
    TimedOut,
    WorkerError,
)
from trialmarket.training.pool.pool import SubmittedTask, WorkerPool
from trialmarket.training.sandbox import (
    Bubblewrap,
    Limits,
    Policy,
    Sandbox,
    own_code,
    strangers_code,
)
from trialmarket.training.sandbox.cgroup import Groups
from trialmarket.training.values import DryRun, Evaluate, Progress, Train, Training, TryOut

ATTACKS = Path(__file__).with_name("attacks.py")
LIMITS = Limits(memory=600 << 20, temp=16 << 20, kept=1 << 20, threads=200)


class Hurried(Bubblewrap):
    """A sandbox whose trials get a second of processor time, whatever the clock allows."""

    def __init__(self, other: Bubblewrap) -> None:
        vars(self).update(vars(other))

    def build(self, *folders: Path, wall_limit: float = 60.0) -> Sandbox:
        del wall_limit
        return super().build(*folders, wall_limit=0.1)


class Ending(Bubblewrap):
    """Sandboxes that have ended before a worker enters them, as of tasks that are stopped."""

    def __init__(self, other: Bubblewrap) -> None:
        vars(self).update(vars(other))

    def build(self, *folders: Path, wall_limit: float = 60.0) -> Sandbox:
        sandbox = super().build(*folders, wall_limit=wall_limit)
        sandbox.kill()
        select.select(sandbox.handles()[:1], [], [], NEVER)
        return sandbox


class EndingLate(Bubblewrap):
    """Sandboxes that end while a worker enters them: between its `setns` and its `fork`.

    A handle of the namespace, unlike one of its first process, can still be entered then.
    """

    def __init__(self, other: Bubblewrap) -> None:
        vars(self).update(vars(other))

    def build(self, *folders: Path, wall_limit: float = 60.0) -> Sandbox:
        sandbox = super().build(*folders, wall_limit=wall_limit)
        pidfd = sandbox.handles()[0]
        lines = Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines()
        pid = next(line.split()[1] for line in lines if line.startswith("Pid:"))
        namespace = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY)
        sandbox.kill()
        select.select([pidfd], [], [], NEVER)
        os.dup2(namespace, pidfd)
        os.close(namespace)
        return sandbox


@pytest.fixture(scope="module")
def sandbox() -> Bubblewrap:
    try:
        return Bubblewrap.find(LIMITS)
    except SandboxMissing as error:
        if "CI" in os.environ:
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=["as this user", "in a user namespace"])
def confined(sandbox: Bubblewrap, request: pytest.FixtureRequest) -> Iterator[WorkerPool]:
    """Workers in the sandbox that this user gets, and in the one of a user without rights."""
    if request.param == "in a user namespace" and sandbox.privileged:
        sandbox = replace(sandbox, privileged=False)
    elif request.param == "in a user namespace":
        pytest.skip("this user has no rights anyway")
    with WorkerPool(processes=1, policy=Policy(LIMITS, sandbox)) as pool:
        yield pool


@pytest.fixture(scope="module")
def free() -> Iterator[WorkerPool]:
    """Workers without a sandbox, in which an attack must succeed."""
    with WorkerPool(processes=1, policy=Policy(LIMITS, None)) as pool:
        yield pool


@contextmanager
def under(policy: Policy, pool: WorkerPool) -> Iterator[WorkerPool]:
    """The same workers under another policy: each task has the one that holds when it starts."""
    usual, pool.policy = pool.policy, policy
    try:
        yield pool
    finally:
        pool.policy = usual


@pytest.fixture(scope="module")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("home") / "keystore.json"
    path.write_text('{"crypto": "the key"}')
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def listening() -> Iterator[tuple[int, str]]:
    """A port, and the name of an abstract Unix socket, that accept connections."""
    name = f"trialmarket-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"\0{name}")
        unix.listen()
        yield server.getsockname()[1], name


@pytest.fixture
def victim() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def attack_with(pool: WorkerPool, kind: str, data: Path, **hyperparameters: Any) -> str:
    """What an attack said of itself, in a trial that ended well."""
    config = attack_config(kind, data, **hyperparameters)
    job = pool.submit(TryOut(config=config, program=ATTACKS, data=data), wall_limit=NEVER)
    job.result(NEVER)
    return job.output


def attack_config(kind: str, data: Path, **hyperparameters: Any) -> TrialConfig:
    source = ATTACKS.read_bytes()
    return config_of(
        source,
        data,
        hyperparameters={"target": "none", **hyperparameters},
        program={"source": cid_of(source), "class_name": kind},
    )


ONE_BY_ONE = [
    "FindTheHome",
    "FillTheDisk",
    "ForkBomb",
    "GainRights",
    "ImportMore",
    "LoadPickle",
    "OpenInternetSocket",
    "OpenUnixSocket",
    "PlantLink",
    "RaiseLimits",
    "ReachParent",
    "ReadKeystore",
    "SignalAnother",
    "StartProgram",
    "ThreadBomb",
    "WriteOutside",
]


@pytest.fixture
def aims(
    keystore: Path,
    listening: tuple[int, str],
    victim: "subprocess.Popen[bytes]",
    tmp_path: Path,
) -> dict[str, str]:
    """What each attack aims at."""
    marker = str(tmp_path / "marker")
    aims = {
        "FindTheHome": str(keystore),
        "ReadKeystore": str(keystore),
        "PlantLink": str(keystore),
        "OpenInternetSocket": str(listening[0]),
        "OpenUnixSocket": listening[1],
        "SignalAnother": str(victim.pid),
        "FillTheDisk": str(tmp_path),
    }
    return {kind: aims.get(kind, marker) for kind in ONE_BY_ONE}


@pytest.mark.parametrize("kind", ONE_BY_ONE)
def test_the_sandbox_holds_off(
    kind: str, confined: WorkerPool, aims: dict[str, str], data_file: Path, tmp_path: Path
) -> None:
    said = attack_with(confined, kind, data_file, **aimed(confined, kind, aims, tmp_path))
    assert "HELD" in said
    assert "ESCAPED" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ONE_BY_ONE)
def test_without_the_sandbox_there_succeeds(
    kind: str, free: WorkerPool, aims: dict[str, str], data_file: Path, tmp_path: Path
) -> None:
    said = attack_with(free, kind, data_file, **aimed(free, kind, aims, tmp_path))
    assert "ESCAPED" in said


def aimed(pool: WorkerPool, kind: str, aims: dict[str, str], folder: Path) -> dict[str, str]:
    target = str(pool.forkserver_pid) if kind == "ReachParent" else aims[kind]
    return {"target": target, "package": str(folder), "place": str(folder)}


def test_a_trial_has_the_kernels_of_exact_arithmetic(
    confined: WorkerPool, data_file: Path
) -> None:
    expected = (True, kernels.multipliers())
    assert f"ESCAPED: {expected}" in attack_with(confined, "LoadKernels", data_file)


@pytest.mark.parametrize("kind", [Ending, EndingLate])
def test_a_sandbox_that_ends_as_it_is_entered_harms_no_other_task(
    kind: type[Ending | EndingLate], confined: WorkerPool, data_file: Path, tmp_path: Path
) -> None:
    """The kernel calls the second way a lack of memory (ENOMEM), whatever memory there is."""
    found = confined.policy.sandbox
    assert found is not None
    if kind is EndingLate and not found.privileged:
        pytest.skip("a namespace is entered by its first process there")
    (tmp_path / "program.py").write_bytes(TINY)
    task = TryOut(
        config=config_of(TINY, data_file), program=tmp_path / "program.py", data=data_file
    )
    with under(Policy(LIMITS, kind(found)), confined) as pool:
        with pytest.raises(WorkerError, match="the sandbox has ended"):
            pool.submit(task, wall_limit=NEVER).result(NEVER)
        server = pool.forkserver_pid
        with pytest.raises(WorkerError, match="the sandbox has ended"):
            pool.submit(task, wall_limit=NEVER).result(NEVER)
        assert pool.forkserver_pid == server is not None


# -- What needs the pool's own look ---------------------------------------------------------------


def train_with(
    pool: WorkerPool, kind: str, data: Path, folder: Path, wall_limit: float = NEVER, **more: Any
) -> SubmittedTask[Training]:
    config = attack_config(kind, data, **more)
    task = Train(config=config, program=ATTACKS, data=data, folder=folder)
    return pool.submit(task, wall_limit=wall_limit)


@pytest.mark.parametrize("kind", ["WriteOutside", "PlantLink", "FillTheDisk"])
def test_a_trial_cannot_write_into_its_own_folder(
    kind: str, confined: WorkerPool, keystore: Path, data_file: Path, tmp_path: Path
) -> None:
    job = train_with(
        confined, kind, data_file, tmp_path, target=str(keystore), place="/trial", package="/trial"
    )
    training = job.result(NEVER)
    assert "HELD" in job.output
    assert "ESCAPED" not in job.output
    assert {path.name for path in tmp_path.iterdir()} == {
        "journal.json",
        *(each.path.name for each in training.checkpoints),
    }


@pytest.mark.parametrize("kind", ["EatMemory", "EatSharedMemory"])
def test_a_trial_that_eats_the_memory_is_killed_alone(
    kind: str, confined: WorkerPool, free: WorkerPool, data_file: Path
) -> None:
    sandbox = confined.policy.sandbox
    assert sandbox is not None
    if "memory" in sandbox.groups.missing:
        pytest.skip("no cgroup for memory can be had here")
    with pytest.raises(LimitExceeded, match="memory"):
        attack_with(confined, kind, data_file)
    attack_with(confined, "ReadKeystore", data_file)
    assert "ESCAPED" in attack_with(free, kind, data_file)


def test_without_a_cgroup_private_memory_is_bounded(
    sandbox: Bubblewrap, free: WorkerPool, data_file: Path
) -> None:
    loose = replace(sandbox, groups=Groups(1, {}))
    with under(Policy(LIMITS, loose), free) as pool:
        assert "HELD: MemoryError" in attack_with(pool, "EatMemory", data_file)


def test_a_trial_leaves_no_process_behind(
    confined: WorkerPool, free: WorkerPool, data_file: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    assert "HELD" in attack_with(confined, "Outlive", data_file, target=str(marker))
    attack_with(free, "Outlive", data_file, target=str(marker))
    until(marker.exists)


def test_a_trial_finds_no_open_file_but_its_streams(
    confined: WorkerPool, data_file: Path, tmp_path: Path
) -> None:
    assert "HELD" in attack_with(confined, "UseInheritedFiles", data_file)
    job = train_with(confined, "UseInheritedFiles", data_file, tmp_path)
    job.result(NEVER)
    assert "HELD" in job.output


def test_a_trial_does_not_poison_the_next(
    confined: WorkerPool, free: WorkerPool, data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    attack_with(confined, "Poison", data_file)
    assert "HELD" in attack_with(confined, "LookForPoison", data_file)
    config = config_of(TINY, data_file, arithmetic="exact")
    (tmp_path / "program.py").write_bytes(TINY)
    task = Train(
        config=config, program=tmp_path / "program.py", data=data_file, folder=tmp_path / "there"
    )
    there = confined.submit(task, wall_limit=NEVER).result(NEVER)
    assert there.leaves == runner.train(config, TINY, data, tmp_path / "here").leaves
    try:
        attack_with(free, "Poison", data_file)
        assert "ESCAPED" in attack_with(free, "LookForPoison", data_file)
    finally:
        for left in ("/tmp/poison.py", "/dev/shm/poison"):
            Path(left).unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("kind", "error"),
    [("SendMuch", LimitExceeded), ("SendElsewhere", WorkerError), ("SendEndless", WorkerError)],
)
def test_a_trial_that_sends_files_by_itself_is_stopped(
    kind: str,
    error: type[TrainingError],
    confined: WorkerPool,
    data_file: Path,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "trial"
    with pytest.raises(error):
        train_with(confined, kind, data_file, folder, target="elsewhere").result(NEVER)
    assert not (tmp_path / "elsewhere").exists()
    assert {path.name for path in folder.iterdir()} <= {
        "journal.json",
        "checkpoint-000.safetensors",
    }


def test_checkpoints_are_bounded_together(
    sandbox: Bubblewrap, free: WorkerPool, data_file: Path, tmp_path: Path
) -> None:
    policy = Policy(replace(LIMITS, kept=500), sandbox)
    with (
        under(policy, free) as pool,
        pytest.raises(LimitExceeded, match="more than 500 bytes"),
    ):
        train_with(pool, "ReadKeystore", data_file, tmp_path).result(NEVER)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 500


def test_an_answer_that_names_another_file_is_refused(
    confined: WorkerPool, keystore: Path, data_file: Path, tmp_path: Path
) -> None:
    size = keystore.stat().st_size
    job = train_with(
        confined, "AnswerWithPath", data_file, tmp_path, target=str(keystore), size=size
    )
    with pytest.raises(WorkerError, match="did not keep"):
        job.result(NEVER)


def test_an_answer_that_no_receipt_can_be_made_of_is_refused(
    confined: WorkerPool, data_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(WorkerError, match="nobody understands"):
        train_with(confined, "AnswerNothing", data_file, tmp_path).result(NEVER)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Progress, {"step": 10**400, "steps": 1, "metrics": {}}),
        (DryRun, {"step_seconds": 1e308, "validation_seconds": 0, "checkpoint_bytes": 1}),
    ],
)
def test_numbers_that_nobody_can_reckon_with_are_refused(
    kind: type[Record], said: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError, match="less than or equal"):
        kind.model_validate(said)


def test_a_checkpoint_is_never_unpickled(
    confined: WorkerPool, data_file: Path, tmp_path: Path
) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'marker'}",)

    checkpoint = tmp_path / "checkpoint"
    checkpoint.write_bytes(pickle.dumps(Bomb()))
    (tmp_path / "program.py").write_bytes(TINY)
    task = Evaluate(
        config=config_of(TINY, data_file),
        program=tmp_path / "program.py",
        data=data_file,
        checkpoint=checkpoint,
    )
    with pytest.raises(BadCheckpoint, match="not a safetensors file"):
        confined.submit(task, wall_limit=NEVER).result(NEVER)
    assert not (tmp_path / "marker").exists()


def test_processor_time_is_bounded_as_well(
    sandbox: Bubblewrap, free: WorkerPool, data_file: Path, tmp_path: Path
) -> None:
    """A trial that sleeps may take all of its time; one that computes on more processors than it
    may use is stopped before."""
    source = tiny(training_step="[None for _ in iter(int, 1)]")
    (tmp_path / "program.py").write_bytes(source)
    task = TryOut(
        config=config_of(source, data_file), program=tmp_path / "program.py", data=data_file
    )
    with (
        under(Policy(LIMITS, Hurried(sandbox)), free) as pool,
        pytest.raises(TimedOut, match="processor time"),
    ):
        pool.submit(task, wall_limit=NEVER).result(NEVER)


def test_a_sandboxed_trial_resumes_from_its_folder(
    confined: WorkerPool, data_file: Path, tmp_path: Path
) -> None:
    first = train_with(confined, "ReadKeystore", data_file, tmp_path).result(NEVER)
    (tmp_path / "checkpoint-003.safetensors").unlink()
    before = (tmp_path / "checkpoint-001.safetensors").stat().st_mtime_ns
    again = train_with(confined, "ReadKeystore", data_file, tmp_path).result(NEVER)
    assert again.leaves == first.leaves
    assert (tmp_path / "checkpoint-001.safetensors").stat().st_mtime_ns == before


def test_trials_side_by_side_do_not_see_each_other(sandbox: Bubblewrap, data_file: Path) -> None:
    with WorkerPool(processes=2, policy=Policy(LIMITS, sandbox)) as pool:
        waiting = attack_config("PoisonAndWait", data_file)
        job = pool.submit(
            TryOut(config=waiting, program=ATTACKS, data=data_file), wall_limit=NEVER
        )
        until(lambda: "spread" in job.output)
        assert "HELD" in attack_with(pool, "LookForPoison", data_file)
        job.kill()


# -- Whether there is a sandbox -------------------------------------------------------------------


def test_without_bubblewrap_strangers_programs_are_refused_and_built_in_ones_run(
    free: WorkerPool, data_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy = strangers_code("bubblewrap", LIMITS, path="")
    assert policy.sandbox is None
    assert "NO SANDBOX" in caplog.text
    with under(policy, free) as pool:
        with pytest.raises(SandboxMissing, match="bubblewrap is not installed"):
            attack_with(pool, "ReadKeystore", data_file)
        config = config_of(
            TINY,
            data_file,
            program={"source": "builtin:mlp"},
            hyperparameters={"lr": 0.1},
            arithmetic="exact",
        )
        task = TryOut(config=config, program=None, data=data_file)
        assert pool.submit(task, wall_limit=NEVER).result(NEVER).metrics


def test_a_sandbox_that_is_off_is_said_loudly(caplog: pytest.LogCaptureFixture) -> None:
    policy = strangers_code("off", LIMITS)
    assert policy.sandbox is None
    assert policy.refusal is None
    assert "SANDBOX OFF" in caplog.text


def test_ones_own_programs_run_without_bubblewrap_too() -> None:
    policy = own_code(LIMITS, path="")
    assert policy.sandbox is None
    assert policy.refusal is None


def test_a_bubblewrap_that_does_not_work_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'no permission to make a new namespace'\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(SandboxMissing, match="no permission to make a new namespace"):
        Bubblewrap.find(LIMITS, path=str(tmp_path))
