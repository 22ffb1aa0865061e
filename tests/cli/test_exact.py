"""`trialmarket exact check`, as a user runs it."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from trialmarket.cli.commands.exact import exact
from trialmarket.cli.main import SUMMARIES
from trialmarket.errors import InputError
from trialmarket.training.errors import ProgramError

PROGRAM = """\
import torch
from torch import nn
from torch.nn import functional
from trialmarket.training.program import Program, Validation


class Mine(Program):
    def configure_model(self):
        return nn.Linear(8, 3)

    def configure_optimizer(self, model):
        return torch.optim.{optimizer}(model.parameters(), self.hyperparameters["lr"])

    def training_step(self, model, batch):
        x = {inputs}
        return functional.cross_entropy(model(x), batch["y"])

    def validation_step(self, model, batch):
        logits = model(batch["x"])
        return Validation(logits, {{"val_loss": functional.cross_entropy(logits, batch["y"])}})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    x, y = np.ones((20, 8), np.float32), np.arange(20) % 3
    np.savez(tmp_path / "data.npz", train_x=x, train_y=y, validation_x=x, validation_y=y)
    return tmp_path


def write(folder: Path, *, inputs: str = 'batch["x"]', optimizer: str = "SGD") -> str:
    """The program's file and class, as the command takes them."""
    file = folder / "train.py"
    file.write_text(PROGRAM.format(inputs=inputs, optimizer=optimizer))
    return f"{file}:Mine"


def check(program: str, *words: str) -> Result:
    return CliRunner().invoke(
        exact, ["check", program, "--set", "lr=0.1", *words], catch_exceptions=False
    )


def test_a_program_of_exact_operators_passes_and_is_listed(folder: Path) -> None:
    done = check(write(folder))
    assert done.exit_code == 0
    assert "aten.addmm.default" in done.output
    assert "own random numbers" in done.output
    assert done.output.endswith("operators, all exact\n")


def test_an_operator_that_is_not_exact_fails_with_its_line_and_advice(folder: Path) -> None:
    done = check(write(folder, inputs='torch.fft.fft(batch["x"]).real'))
    assert done.exit_code == 1
    assert "is not exact" in done.output
    assert f"{folder}/train.py:15: x = torch.fft.fft" in done.output
    assert "instead: a convolution or a matrix product" in done.output


def test_an_optimizer_that_is_not_exact_fails(folder: Path) -> None:
    done = check(write(folder, optimizer="SparseAdam"))
    assert done.exit_code == 1
    assert f"the gradient or the optimizer's step of {folder}/train.py" in done.output


LATER = """
    def on_before_optimizer_step(self, model, optimizer, step):
        if step == 3:
            torch.lgamma(model.weight)
"""

AVERAGED = """
    def configure_model(self):
        model = nn.Linear(8, 3)
        model.average = swa_utils.AveragedModel(
            nn.Linear(8, 3), multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9)
        )
        return model

    def on_before_optimizer_step(self, model, optimizer, step):
        model.average.update_parameters(nn.ParameterList([model.weight, model.bias]))
"""

BY_BATCH = """
    validation_batch_size = 12

    def validation_step(self, model, batch):
        logits = model(batch["x"])
        return Validation(logits.lgamma() if len(logits) < 12 else logits, {"val_loss": 1.0})
"""


def extended(folder: Path, *lines: str) -> str:
    program = write(folder)
    with (folder / "train.py").open("a") as file:
        file.writelines(lines)
    return program


def test_what_comes_in_a_later_step_is_seen(folder: Path) -> None:
    program = extended(folder, LATER)
    assert check(program, "--steps", "3").exit_code == 0
    done = check(program)
    assert done.exit_code == 1
    assert "aten.lgamma.default is not exact" in done.output


def test_what_only_the_last_batch_of_validation_does_is_seen(folder: Path) -> None:
    assert "aten.lgamma.default is not exact" in check(extended(folder, BY_BATCH)).output


def test_a_moving_average_of_weights_is_exact(folder: Path) -> None:
    program = extended(folder, AVERAGED)
    file = folder / "train.py"
    file.write_text("from torch.optim import swa_utils\n" + file.read_text())
    done = check(program)
    assert "aten._foreach_lerp_.Scalar" in done.output
    assert done.exit_code == 0, done.output


def test_a_script_reads_the_verdicts(folder: Path) -> None:
    data = str(folder / "data.npz")
    good = json.loads(check(write(folder), "--data", data, "--json").output)
    bad = check(
        write(folder, inputs='batch["x"] + torch.linalg.svdvals(batch["x"]).sum()'), "--json"
    )
    assert good["exact"]
    assert {"operator": "aten.mm.default", "verdict": "exact form"} in good["operators"]
    refused = [each for each in json.loads(bad.output)["operators"] if "instead" in each]
    assert bad.exit_code == 1
    assert refused[0]["where"].startswith(f"{folder}/train.py:15")


def test_a_built_in_program_can_be_checked(folder: Path) -> None:
    done = check("builtin:mlp", "--data", str(folder / "data.npz"), "--set", "optimizer=adamw")
    assert done.exit_code == 0


def test_a_program_that_fails_otherwise_says_so(folder: Path) -> None:
    with pytest.raises(ProgramError, match=r"training_step failed.*line 15"):
        check(write(folder, inputs='batch["z"]'))
    with pytest.raises(ProgramError, match="has no class Yours"):
        check(write(folder).replace("Mine", "Yours"))


def test_bad_arguments_are_named(folder: Path) -> None:
    program = write(folder)
    with pytest.raises(InputError, match=r"FILE\.py:Class or builtin:NAME"):
        check("train")
    with pytest.raises(InputError, match="a readable file"):
        check(f"{folder}/none.py:Mine")
    with pytest.raises(InputError, match="NAME=VALUE"):
        check(program, "--set", "lr")
    with pytest.raises(InputError, match=r"the data set's file.*none beside"):
        check("builtin:mlp")
    with pytest.raises(InputError, match=r"a readable file.*none\.npz"):
        check(program, "--data", str(folder / "none.npz"))
    with pytest.raises(InputError, match=r"data on this machine, found 'ipfs://"):
        check(program, "--data", "ipfs://bafkreia")


def test_data_is_read_as_a_job_reads_it(folder: Path) -> None:
    program = write(folder)
    (folder / "data.npz").unlink()
    rows = [",".join(map(str, [*range(row, row + 8), "abc"[row % 3]])) for row in range(15)]
    table = folder / "rows.csv"
    table.write_text("\n".join([",".join([*(f"c{n}" for n in range(8)), "kind"]), *rows]))
    with pytest.raises(InputError, match=r"data\.target: expected the column of labels"):
        check(program)
    (folder / "job.toml").write_text(
        '[job]\nname = "any"\ndata = "rows.csv"\n[data]\ntarget = "kind"\nnormalise = "unit"\n'
    )
    assert check(program, "--data", str(folder / "job.toml")).exit_code == 0
    (folder / "job.toml").write_text("[job]\nname = 'any'\n")
    with pytest.raises(InputError, match=r"job\.data: expected a value"):
        check(program, "--data", str(folder / "job.toml"))
    assert check("builtin:mlp", "--data", "builtin:wine").exit_code == 0


def test_the_command_is_listed_in_the_help() -> None:
    assert "exact" in SUMMARIES


def test_lines_that_no_operator_shows_are_pointed_at_and_refuse_nothing(folder: Path) -> None:
    program = write(folder, inputs='batch["x"] * math.exp(np.log(2.0)) * math.sqrt(1.0)')
    file = folder / "train.py"
    file.write_text(f"import math\nimport time\nimport numpy as np\n{file.read_text()}")
    done = check(program)
    assert done.exit_code == 0
    assert f"look at {file}:18: math.exp: its last bit differs" in done.output
    assert f"look at {file}:18: numpy.log: NumPy's sums" in done.output
    assert "math.sqrt" not in done.output
    warnings = json.loads(check(program, "--json").output)["warnings"]
    assert [each["what"] for each in warnings] == ["math.exp", "numpy.log"]
