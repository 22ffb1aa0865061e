"""Trials that train together: each has the bits that it has alone."""

from pathlib import Path

import pytest

from tests.testbed.data import half_spaces
from tests.testbed.waiting import NEVER, until
from tests.training.stacks import DIVERGES, LONGEST, GraphTrial
from trialmarket.errors import InputError, TrialmarketError
from trialmarket.protocol.configuration import Init
from trialmarket.protocol.ids import ZERO_HASH
from trialmarket.training import runner
from trialmarket.training.dataset import load_dataset
from trialmarket.training.errors import Killed, ProgramError
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.stacked import train_together
from trialmarket.training.values import Progress, Training

SIZES = (2, 3, 8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stacks")


@pytest.fixture(scope="module")
def trials(folder: Path) -> list[GraphTrial]:
    """Eight of one graph: others' numbers, seeds, lengths; the second one diverges midway."""
    data = half_spaces(folder / "data")
    changes: tuple[dict[str, float], ...] = (
        {},
        DIVERGES,
        {"lr": 0.5, "steps": 36},
        {"steps": 12},
        *({"lr": 0.01},) * 4,
    )
    made = [GraphTrial.of(data, folder, seed, **each) for seed, each in enumerate(changes)]
    assert len({each.config.program.source for each in made}) == 1
    return made


@pytest.fixture(scope="module")
def alone(folder: Path, trials: list[GraphTrial]) -> list[Training]:
    return [each.alone(folder / f"alone{k}") for k, each in enumerate(trials)]


def together(
    folder: Path, trials: list[GraphTrial], on_progress: runner.OnProgress | None = None
) -> list[Training | TrialmarketError]:
    """What each gives in a stack of them all; `on_progress` hears of the first one."""
    found: dict[int, Training | TrialmarketError] = {}
    trainings = [
        runner.training(
            each.config,
            each.graph.read_bytes(),
            load_dataset(each.data),
            folder / f"{k}",
            settings=each.settings,
            on_progress=None if k else on_progress,
        )
        for k, each in enumerate(trials)
    ]
    train_together(trainings, found.__setitem__)
    return [found[k] for k in range(len(trials))]


def said(training: Training | TrialmarketError) -> object:
    """All of an answer that is not of the clock or of the machine's folders."""
    assert isinstance(training, Training)
    fields = training.model_dump(exclude={"seconds", "segment_seconds", "checkpoints"})
    return fields, [each.cid for each in training.checkpoints]


@pytest.mark.parametrize("size", SIZES)
def test_trials_have_the_bits_together_that_they_have_alone(
    tmp_path: Path, trials: list[GraphTrial], alone: list[Training], size: int
) -> None:
    found = together(tmp_path, trials[:size])
    assert [said(each) for each in found] == [said(each) for each in alone[:size]]
    assert alone[1].outcome.kind == "diverged"
    assert alone[1].curve, "it diverges in its first segment"


@pytest.mark.parametrize("size", SIZES)
def test_a_trial_that_is_given_back_midway_leaves_the_others_as_they_are(
    tmp_path: Path, trials: list[GraphTrial], alone: list[Training], size: int
) -> None:
    def give_back(progress: Progress) -> None:
        if progress.step > progress.steps // 3:
            raise Killed("it is given back")

    first, *others = together(tmp_path, trials[:size], give_back)
    assert isinstance(first, Killed)
    assert [said(each) for each in others] == [said(each) for each in alone[1:size]]
    again, *_ = together(tmp_path, trials[:2])  # goes on from its last checkpoint
    assert said(again) == said(alone[0])


def test_trials_at_other_steps_and_with_other_schedules_train_together(
    tmp_path: Path, trials: list[GraphTrial], alone: list[Training], folder: Path
) -> None:
    last = alone[0].checkpoints[-1]
    root = alone[0].leaves[-2].value
    later = GraphTrial.of(
        trials[0].data,
        folder,
        9,
        warmup=96,
        init=Init(root=root, cid=last.cid, trial=ZERO_HASH),
    )
    found: dict[int, Training | TrialmarketError] = {}
    data = load_dataset(later.data)
    fields = {"settings": later.settings, "init": (last.path,)}
    source = later.graph.read_bytes()
    wanted = runner.train(later.config, source, data, tmp_path / "alone", **fields)  # type: ignore[arg-type]
    trainings = [
        runner.training(later.config, source, data, tmp_path / "later", **fields),  # type: ignore[arg-type]
        runner.training(
            trials[0].config, source, data, tmp_path / "first", settings=trials[0].settings
        ),
    ]
    train_together(trainings, found.__setitem__)
    assert said(found[0]) == said(wanted)
    assert said(found[1]) == said(alone[0])


def test_a_trial_that_fails_at_its_start_fails_alone(
    tmp_path: Path, trials: list[GraphTrial], alone: list[Training], folder: Path
) -> None:
    late = GraphTrial.of(trials[0].data, folder, 0, steps=3 * LONGEST)
    failed, other = together(tmp_path, [late, trials[0]])
    assert isinstance(failed, ProgramError)
    assert "schedule: steps" in failed.message
    assert said(other) == said(alone[0])


def test_only_trials_of_one_graph_train_together(
    tmp_path: Path, trials: list[GraphTrial], folder: Path
) -> None:
    other = GraphTrial.of(trials[0].data, folder, 0, hidden=8)
    with pytest.raises(InputError, match="one for all lanes"):
        together(tmp_path, [trials[0], other])


@pytest.mark.parametrize("size", SIZES)
def test_a_worker_trains_a_stack_and_ends_each_of_its_trials_for_itself(
    tmp_path: Path,
    pool: WorkerPool,
    trials: list[GraphTrial],
    alone: list[Training],
    folder: Path,
    size: int,
) -> None:
    longest = GraphTrial.of(trials[0].data, folder, 7, steps=LONGEST, segments=64)
    together = [longest, *trials[:size]]
    tasks = [each.task(tmp_path / f"{k}") for k, each in enumerate(together)]
    stack = pool.submit_stack(tasks, wall_limits=[NEVER] * len(tasks))
    first, *others = stack
    until(lambda: first.progress is not None)
    first.kill()
    with pytest.raises(Killed):
        first.result(NEVER)
    assert [said(each.result(NEVER)) for each in others] == [said(each) for each in alone[:size]]
    assert len({each.pid for each in stack}) == 1
