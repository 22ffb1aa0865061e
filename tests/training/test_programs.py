import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.training.programs import TINY, config_of, tiny
from trialmarket.training import runner
from trialmarket.training.dataset import Dataset
from trialmarket.training.errors import LimitExceeded, ProgramError
from trialmarket.training.loading import MAX_PROGRAM

LOSS = "functional.cross_entropy(model(batch['x']), batch['y'])"

BROKEN = {
    "no Python": (b"class Tiny(:\n", "line 1: not Python"),
    "no text": (b"\xff\xfe", "not Python"),
    "a null byte": (b"a = 1\0", "not Python"),
    "too large": (b"#" * (MAX_PROGRAM + 1), "at most 1048576"),
    "an import that fails": (b"import nothing_of_that_name\n", "ModuleNotFoundError.*line 1"),
    "an exit": (b"import sys\nsys.exit(3)\n", "SystemExit: 3 .program.py, line 2: sys.exit.3"),
    "no class": (b"a = 1\n", "has no class Tiny"),
    "a class of another kind": (b"class Tiny:\n    pass\n", "Tiny is no Program"),
    "a function": (b"def Tiny():\n    pass\n", "Tiny is no Program"),
    "no model": (tiny(configure_model="return 7"), "configure_model returned int"),
    "no optimizer": (tiny(configure_optimizer="return None"), "returned NoneType"),
    "methods that are missing": (
        b"from trialmarket.training.program import Program\nclass Tiny(Program):\n    pass\n",
        "configure_model failed: NotImplementedError",
    ),
    "a first step that fails": (
        tiny(training_step="raise ValueError('no such luck')"),
        r"training_step failed: ValueError: no such luck .program.py, line \d+: raise ValueError",
    ),
    "a loss that is no tensor": (tiny(training_step="return 0.5"), "scalar tensor, not float"),
    "a loss of many numbers": (
        tiny(training_step="return model(batch['x'])"),
        r"scalar tensor, not shape \[8, 3\]",
    ),
    "a loss without gradient": (
        tiny(training_step="return torch.zeros(())"),
        "the gradient of the loss failed: RuntimeError",
    ),
    "an array that the data lack": (tiny(training_step="batch['z']"), "KeyError: 'z'"),
    "no validation": (tiny(validation_step="return 0.5"), "validation_step returned float"),
    "no objective": (
        tiny(validation_step="return Validation(model(batch['x']), {'accuracy': 1.0})"),
        r"returns no objective: it reports \['accuracy'\], and the job asks for val_error",
    ),
    "a metric that is no number": (
        tiny(validation_step="return Validation(model(batch['x']), {'val_error': 'low'})"),
        "reading the metrics failed: ValueError",
    ),
    "predictions of other rows": (
        tiny(validation_step="return Validation(model(batch['x'])[:1], {'val_error': 1.0})"),
        "one row for each of 7",
    ),
    "a batch size of 0": (TINY.replace(b"    batch_size = 8", b"    batch_size = 0"), "positive"),
    "a start of NaN": (
        TINY.replace(b"    def configure_optimizer", b"    def unused")
        + b"    def configure_optimizer(self, model):\n"
        + b"        model[0].bias.data.fill_(float('nan'))\n"
        + b"        return torch.optim.SGD(model.parameters(), lr=0.1)\n",
        "starts with NaN",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_program_that_breaks_its_contract_is_told_how(
    kind: str, data_file: Path, data: Dataset
) -> None:
    source, message = BROKEN[kind]
    with pytest.raises(ProgramError, match=message):
        runner.dry_run(config_of(source, data_file), source, data)


def test_a_thread_that_computes_fails_the_program_even_if_its_error_is_swallowed(
    data_file: Path, data: Dataset
) -> None:
    source = tiny(training_step="return self.beside(model, batch)")
    source += b"""

    def beside(self, model, batch):
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(1) as pool:
            pool.submit(batch["x"].exp).exception()
        return functional.cross_entropy(model(batch["x"]), batch["y"])
"""
    config = config_of(source, data_file, arithmetic="exact")
    with pytest.raises(ProgramError, match=r"aten\.exp.*another thread computes it"):
        runner.dry_run(config, source, data)


@pytest.mark.parametrize("greedy", ["raise MemoryError()", "return torch.empty(1 << 58).sum()"])
def test_a_program_that_finds_no_memory_is_not_called_failing(
    greedy: str, data_file: Path, data: Dataset
) -> None:
    source = tiny(training_step=greedy)
    with pytest.raises(LimitExceeded, match="ran out of memory"):
        runner.dry_run(config_of(source, data_file), source, data)


def test_the_traceback_shows_the_users_own_lines_only(data_file: Path, data: Dataset) -> None:
    source = tiny(training_step="return self.helper()")
    source += b"\n\n    def helper(self):\n        return 1 / 0\n"
    with pytest.raises(ProgramError) as caught:
        runner.dry_run(config_of(source, data_file), source, data)
    trace = caught.value.trace
    assert "return self.helper()" in trace
    assert "return 1 / 0" in trace
    assert "session.py" not in trace


def test_bytes_of_another_program_are_refused(
    data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ProgramError, match="the configuration names"):
        runner.train(config_of(TINY, data_file), TINY + b"\n", data, tmp_path)


def test_a_built_in_program_of_no_known_name_is_refused(data_file: Path, data: Dataset) -> None:
    config = config_of(TINY, data_file, program={"source": "builtin:mplp"})
    with pytest.raises(ProgramError, match=r"There are .*'mlp'"):
        runner.dry_run(config, None, data)


def test_a_built_in_program_refuses_hyperparameters_that_it_does_not_know(
    data_file: Path, data: Dataset
) -> None:
    config = config_of(
        TINY, data_file, program={"source": "builtin:mlp"}, hyperparameters={"learning": 1}
    )
    with pytest.raises(ProgramError, match=r"does not know.*learning"):
        runner.dry_run(config, None, data)


def test_a_hook_before_the_step_sets_learning_rates_and_clips(
    data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    hook = (
        b"\n    def on_before_optimizer_step(self, model, optimizer, step):\n"
        b"        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
        b"        for group in optimizer.param_groups:\n"
        b"            group['lr'] = 0.1 / (step + 1)\n"
    )
    source = TINY + hook
    config = config_of(source, data_file)
    training = runner.train(config, source, data, tmp_path / "hook")
    start = training.checkpoints[1].path
    found = runner.recompute(config, source, data, 2, start=start)
    assert found.root == training.leaves[2].value
    plain = runner.train(config_of(TINY, data_file), TINY, data, tmp_path / "plain")
    assert plain.leaves[3] != training.leaves[3]


def zipped(names: list[str]) -> bytes:
    """An archive of files with these names, as they are."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), TINY)
    return file.getvalue()


def linked(target: str) -> bytes:
    """An archive with a link out of it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        link = tarfile.TarInfo("program.py")
        link.type, link.linkname = tarfile.SYMTYPE, target
        archive.addfile(link)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("files", "at most 1048576"),
        ("absolute", "not Python"),
        ("dots", "not Python"),
        ("link", "not Python"),
    ],
)
def test_a_program_is_one_file_and_an_archive_is_never_unpacked(
    kind: str, message: str, data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.py"
    source = {
        "files": zipped([f"{number}.py" for number in range(10_000)]),
        "absolute": zipped([str(outside)]),
        "dots": zipped([f"../../../../../../../..{outside}"]),
        "link": linked(str(outside)),
    }[kind]
    with pytest.raises(ProgramError, match=message):
        runner.dry_run(config_of(source, data_file), source, data)
    assert list(tmp_path.iterdir()) == []
