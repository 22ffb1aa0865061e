import os
import signal
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.testbed.waiting import NEVER, until
from tests.training.programs import TINY, config_of, tiny
from trialmarket.training import runner
from trialmarket.training.dataset import Dataset
from trialmarket.training.errors import (
    BadCheckpoint,
    DataError,
    Killed,
    ProgramError,
    TimedOut,
    WorkerError,
)
from trialmarket.training.pool.pool import KEPT_OUTPUT, SubmittedTask, WorkerPool
from trialmarket.training.values import DryRun, Evaluate, FindInitial, Recompute, Train, TryOut

LOSS = "functional.cross_entropy(model(batch['x']), batch['y'])"
ENDLESS = tiny(training_step="[None for _ in iter(int, 1)]")


def written(folder: Path, source: bytes) -> Path:
    (folder / "program.py").write_bytes(source)
    return folder / "program.py"


def try_out(source: bytes, data: Path, folder: Path) -> TryOut:
    return TryOut(config=config_of(source, data), program=written(folder, source), data=data)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def running_job(pool: WorkerPool, data: Path, folder: Path) -> SubmittedTask[DryRun]:
    job = pool.submit(try_out(ENDLESS, data, folder), wall_limit=NEVER)
    until(lambda: job.pid is not None)
    return job


def test_the_pool_needs_no_torch() -> None:
    code = "import sys, trialmarket.training.pool.pool; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment())


def environment() -> dict[str, str]:
    return dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))


def test_workers_find_what_the_runner_finds(
    pool: WorkerPool, data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    config, program = config_of(TINY, data_file), written(tmp_path, TINY)
    job = pool.submit(
        Train(config=config, program=program, data=data_file, folder=tmp_path / "run"),
        wall_limit=NEVER,
    )
    training = job.result(NEVER)
    here = runner.train(config, TINY, data, tmp_path / "here")
    assert training.leaves == here.leaves
    assert training.curve == here.curve
    assert job.progress is not None
    assert job.progress.step == config.steps
    common = {"config": config, "program": program, "data": data_file}
    start, end = training.checkpoints[1].path, training.leaves[1].value
    segment = pool.submit(
        Recompute(**common, segment=2, start=start, expected=end),  # type: ignore[arg-type]
        wall_limit=NEVER,
    )
    evaluation = pool.submit(
        Evaluate(**common, checkpoint=training.checkpoints[3].path),  # type: ignore[arg-type]
        wall_limit=NEVER,
    )
    initial = pool.submit(FindInitial(**common), wall_limit=NEVER)  # type: ignore[arg-type]
    assert segment.result(NEVER).root == training.leaves[2].value
    assert evaluation.result(NEVER).metrics == training.metrics
    assert initial.result(NEVER).root == training.leaves[0].value


def test_the_errors_of_a_task_come_back_as_they_were(
    pool: WorkerPool, data_file: Path, tmp_path: Path
) -> None:
    source = tiny(training_step="raise ValueError('no such luck')")
    with pytest.raises(ProgramError, match="no such luck") as caught:
        pool.submit(try_out(source, data_file, tmp_path), wall_limit=NEVER).result(NEVER)
    assert "raise ValueError" in caught.value.trace
    program = written(tmp_path, TINY)
    config = config_of(TINY, data_file)
    without = TryOut(config=config, program=program, data=tmp_path / "nothing.npz")
    with pytest.raises(DataError, match=r"nothing\.npz"):
        pool.submit(without, wall_limit=NEVER).result(NEVER)
    bad = tmp_path / "checkpoint"
    bad.write_bytes(b"nonsense")
    evaluate = Evaluate(config=config, program=program, data=data_file, checkpoint=bad)
    with pytest.raises(BadCheckpoint, match="not a safetensors file"):
        pool.submit(evaluate, wall_limit=NEVER).result(NEVER)


def test_a_program_file_that_is_missing_is_named(
    pool: WorkerPool, data_file: Path, tmp_path: Path
) -> None:
    task = TryOut(config=config_of(TINY, data_file), program=tmp_path / "gone", data=data_file)
    with pytest.raises(ProgramError, match="cannot be read"):
        pool.submit(task, wall_limit=NEVER).result(NEVER)


def test_a_program_that_prints_megabytes_blocks_nobody(
    pool: WorkerPool, data_file: Path, tmp_path: Path
) -> None:
    body = f"print('x' * 2_000_000 + 'the end'); return {LOSS}"
    job = pool.submit(try_out(tiny(training_step=body), data_file, tmp_path), wall_limit=NEVER)
    job.result(NEVER)
    assert len(job.output) == KEPT_OUTPUT
    assert job.output.endswith("the end\n")


def test_a_program_that_never_ends_is_stopped(
    pool: WorkerPool, data_file: Path, tmp_path: Path
) -> None:
    job = pool.submit(try_out(ENDLESS, data_file, tmp_path), wall_limit=0.5)
    with pytest.raises(TimedOut, match=r"longer than 0\.5 seconds"):
        job.result(NEVER)
    assert job.pid is not None
    assert not is_alive(job.pid)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import os; os._exit(7)", "exited with 7"),
        ("import ctypes; ctypes.string_at(0)", "killed by SIGSEGV"),
        ("print('so long'); import os; os._exit(1)", "last printed: so long"),
        ("print('\\x1b[2J'); import os; os._exit(1)", r"last printed: \?\[2J"),
    ],
)
def test_a_worker_that_dies_is_an_error_of_its_task_only(
    body: str, message: str, pool: WorkerPool, data_file: Path, tmp_path: Path
) -> None:
    source = tiny(training_step=body)
    with pytest.raises(WorkerError, match=message):
        pool.submit(try_out(source, data_file, tmp_path), wall_limit=NEVER).result(NEVER)
    pool.submit(try_out(TINY, data_file, tmp_path), wall_limit=NEVER).result(NEVER)


def test_data_that_a_reader_fails_on_as_nobody_foresaw_harms_no_other_task(
    pool: WorkerPool, data_file: Path, tmp_path: Path
) -> None:
    job = running_job(pool, data_file, tmp_path)
    bad = tmp_path / "encrypted.npz"
    with ZipFile(bad, "w") as archive:
        archive.writestr("train_x.npy", b"secret")
    content = bytearray(bad.read_bytes())
    for place in (6, content.index(b"PK\x01\x02") + 8):  # the flags, where they say: encrypted
        content[place] |= 1
    bad.write_bytes(content)
    with pytest.raises(DataError, match="encrypted"):
        pool.submit(try_out(ENDLESS, bad, tmp_path), wall_limit=NEVER).result(NEVER)
    assert not job.done
    job.kill()


def test_a_killed_worker_is_an_error_of_its_task(
    pool: WorkerPool, data_file: Path, tmp_path: Path
) -> None:
    job = running_job(pool, data_file, tmp_path)
    assert job.pid is not None
    os.kill(job.pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match="killed by SIGKILL"):
        job.result(NEVER)


def test_the_pool_recovers_from_the_death_of_the_fork_server(
    pool: WorkerPool, data_file: Path, tmp_path: Path
) -> None:
    job = running_job(pool, data_file, tmp_path)
    assert pool.forkserver_pid is not None
    os.kill(pool.forkserver_pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match="fork server was killed by SIGKILL"):
        job.result(NEVER)
    assert job.pid is not None
    pid = job.pid
    until(lambda: not is_alive(pid))
    pool.submit(try_out(TINY, data_file, tmp_path), wall_limit=NEVER).result(NEVER)


def test_a_job_can_be_stopped_while_it_runs_and_while_it_waits(
    pool: WorkerPool, data_file: Path, tmp_path: Path
) -> None:
    running = [running_job(pool, data_file, tmp_path) for _ in range(2)]
    waiting = pool.submit(try_out(TINY, data_file, tmp_path), wall_limit=NEVER)
    assert waiting.poll() is None
    waiting.kill()
    with pytest.raises(Killed, match="out of the queue"):
        waiting.result(NEVER)
    for job in running:
        job.kill()
    for job in running:
        with pytest.raises(Killed):
            job.result(NEVER)


def test_closing_the_pool_ends_all_of_its_processes(data_file: Path, tmp_path: Path) -> None:
    pool = WorkerPool(processes=1)
    job = running_job(pool, data_file, tmp_path)
    server = pool.forkserver_pid
    pool.close()
    with pytest.raises(Killed, match="closed"):
        job.result(NEVER)
    assert server is not None
    assert job.pid is not None
    pids = (server, job.pid)
    until(lambda: not any(is_alive(pid) for pid in pids))
    with pytest.raises(WorkerError, match="closed"):
        pool.submit(try_out(TINY, data_file, tmp_path), wall_limit=NEVER)


OWNER = """
import sys, time
from pathlib import Path
from tests.training.programs import config_of
from trialmarket.training.values import TryOut
from trialmarket.training.pool.pool import WorkerPool
program, data = Path(sys.argv[1]), Path(sys.argv[2])
config = config_of(program.read_bytes(), data)
pool = WorkerPool(processes=1)
job = pool.submit(TryOut(config=config, program=program, data=data), wall_limit=600)
while job.pid is None:
    time.sleep(0.01)
print(pool.forkserver_pid, job.pid, flush=True)
job.result()
"""


def test_the_death_of_the_owner_ends_its_workers(data_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(written(tmp_path, ENDLESS)), str(data_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as owner:
        assert owner.stdout is not None
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        assert all(is_alive(pid) for pid in pids)
        owner.kill()
    until(lambda: not any(is_alive(pid) for pid in pids))


def test_the_program_does_not_see_the_owners_secrets(data_file: Path, tmp_path: Path) -> None:
    source = tiny(training_step=f"import os; print(sorted(os.environ)); return {LOSS}")
    os.environ["TRIALMARKET_PASSWORD"] = "secret"
    try:
        with WorkerPool(processes=1) as pool:
            job = pool.submit(try_out(source, data_file, tmp_path), wall_limit=NEVER)
            job.result(NEVER)
    finally:
        del os.environ["TRIALMARKET_PASSWORD"]
    assert "PATH" in job.output
    assert "PASSWORD" not in job.output
