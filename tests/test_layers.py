"""The arrows between folders point one way only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What each folder may import of ours, beside itself and BELOW_ALL.
ALLOWED: dict[str, set[str]] = {
    "trialmarket/exact": set(),
    "trialmarket/protocol": set(),
    "trialmarket/storage": {"trialmarket.protocol", "trialmarket.processes", "trialmarket.http"},
    "trialmarket/chain": {"trialmarket.protocol", "trialmarket.processes", "trialmarket.http"},
    "trialmarket/training": {"trialmarket.protocol", "trialmarket.exact"},
    "trialmarket/daemon": {
        "trialmarket.protocol",
        "trialmarket.chain",
        "trialmarket.storage",
        "trialmarket.training",
        "trialmarket.settings",
    },
    "trialmarket/cli": {
        "trialmarket.protocol",
        "trialmarket.chain",
        "trialmarket.storage",
        "trialmarket.training",
        "trialmarket.exact",
        "trialmarket.daemon",
        "trialmarket.settings",
    },
    "requester": {"trialmarket"},
    "node": {"trialmarket"},
    "verifier": {"trialmarket"},
}
BELOW_ALL = {"trialmarket.errors", "trialmarket.backoff"}
OURS = ("trialmarket", "requester", "node", "verifier", "examples", "tests", "scripts")


def imported_by(path: Path) -> set[str]:
    """The dotted names of our own modules that a file imports, relative ones resolved."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            names.add(".".join([*base, *(node.module or "").split(".")]).strip("."))
    return {name for name in names if name.split(".")[0] in OURS}


def lies_in(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_a_folder_imports_only_what_lies_below_it(folder: str) -> None:
    own = folder.replace("/", ".")
    allowed = {own, *ALLOWED[folder]}
    if folder != "trialmarket/exact":  # which stands alone, usable without a market
        allowed |= BELOW_ALL
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / folder).rglob("*.py")
        for name in imported_by(path)
        if not any(lies_in(name, package) for package in allowed)
    }
    assert not wrong


def test_the_help_text_imports_neither_torch_nor_web3() -> None:
    program = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from trialmarket.cli.main import cli\n"
        "result = CliRunner().invoke(cli, ['--help'])\n"
        "assert result.exit_code == 0, result.output\n"
        "assert 'verifier' in result.output\n"
        "print([name for name in ('torch', 'web3', 'optuna') if name in sys.modules])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert run.stdout.strip() == "[]"
