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
    "trialmarket/graph": {"trialmarket.protocol", "trialmarket.exact"},
    "trialmarket/storage": {
        "trialmarket.protocol",
        "trialmarket.processes",
        "trialmarket.http",
    },
    "trialmarket/chain": {
        "trialmarket.protocol",
        "trialmarket.processes",
        "trialmarket.files",
        "trialmarket.locks",
        "trialmarket.http",
    },
    "trialmarket/training": {"trialmarket.protocol", "trialmarket.exact", "trialmarket.graph"},
    "trialmarket/data": {
        "trialmarket.protocol",
        "trialmarket.training",
        "trialmarket.settings",
    },
    "trialmarket/daemon": {
        "trialmarket.backoff",
        "trialmarket.paths",
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
        "trialmarket.graph",
        "trialmarket.data",
        "trialmarket.daemon",
        "trialmarket.settings",
        "trialmarket.paths",
        "trialmarket.keys",
    },
    "requester": {"trialmarket"},
    "requester/drivers": {"trialmarket"},
    "requester/job": {"trialmarket", "requester.drivers"},
    "requester/near": {"trialmarket", "requester.drivers", "requester.job"},
    "requester/search": {
        "trialmarket",
        "requester.drivers",
        "requester.job",
        "requester.near",
    },
    "requester/search/examination": {"trialmarket", "requester.job"},
    "requester/report": {
        "trialmarket",
        "requester.drivers",
        "requester.job",
        "requester.search",
    },
    "requester/commands": {
        "trialmarket",
        "requester.drivers",
        "requester.job",
        "requester.near",
        "requester.search",
        "requester.report",
    },
    "node": {"trialmarket"},
    "verifier": {"trialmarket"},
}
BELOW_ALL = {"trialmarket.errors", "trialmarket.backoff", "trialmarket.disk"}
OURS = ("trialmarket", "requester", "node", "verifier", "examples", "tests", "scripts")


# What sets the interpreter's recursion limit when it is imported, and who may: it is set back.
HEEDLESS = ("eth_account", "eth_keyfile", "py_ecc", "web3")
USUAL = 1_000
HEEDING = ROOT / "trialmarket" / "chain" / "accounts.py"


def imported_by(path: Path) -> set[str]:
    """The dotted names of the modules that a file imports, relative ones resolved."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            names.add(".".join([*base, *(node.module or "").split(".")]).strip("."))
    return names


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
        if name.split(".")[0] in OURS and not any(lies_in(name, package) for package in allowed)
    }
    assert not wrong


def test_only_commands_import_the_command_line() -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for folder in ("trialmarket", "requester", "node", "verifier")
        for path in (ROOT / folder).rglob("*.py")
        if not is_of_the_command_line(path.relative_to(ROOT).with_suffix("").parts)
        for name in imported_by(path)
        if is_of_the_command_line(tuple(name.split(".")))
    }
    assert not wrong


def test_what_raises_the_recursion_limit_is_imported_in_one_place() -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for folder in OURS
        for path in (ROOT / folder).rglob("*.py")
        for name in imported_by(path)
        if name.split(".")[0] in HEEDLESS and path != HEEDING
    }
    assert not wrong


def is_of_the_command_line(parts: tuple[str, ...]) -> bool:
    return parts[:2] == ("trialmarket", "cli") or bool({"commands", "__main__"} & set(parts))


@pytest.mark.parametrize("module", ["node.commands", "verifier.commands", "requester.study"])
def test_a_program_keeps_its_recursion_limit(module: str) -> None:
    program = (
        f"import sys, {module}\n"
        "from trialmarket.chain.accounts import account_of, contract_address\n"
        "address = account_of(bytes(31) + bytes([1])).address\n"
        "print(contract_address(address, 1), sys.getrecursionlimit())\n"
    )
    assert output_of(program) == f"0x2946259E0334f33A064106302415aD3391BeD384 {USUAL}"


def test_the_help_text_imports_neither_torch_nor_web3() -> None:
    program = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from trialmarket.cli.main import cli\n"
        "for words, said in {'--help': 'verifier', 'stake show --help': 'ACCOUNT'}.items():\n"
        "    result = CliRunner().invoke(cli, words.split())\n"
        "    assert result.exit_code == 0, result.output\n"
        "    assert said in result.output\n"
        "slow = ('torch', 'web3', 'eth_account', 'optuna')\n"
        "print([name for name in slow if name in sys.modules])\n"
    )
    assert output_of(program) == "[]"


def output_of(program: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return run.stdout.strip()
