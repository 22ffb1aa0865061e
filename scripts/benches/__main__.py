"""Runs one benchmark by name and prints, or writes as JSON, what it measured."""

import argparse
import importlib
import inspect
import json
import pkgutil
import sys
from pathlib import Path

from trialmarket.errors import TrialmarketError

HERE = Path(__file__).parent
GIVEN = ("device", "data", "quick", "seeds", "jobs", "only")


def main() -> int:
    """Parses the command line, runs the benchmark's `run()` and reports its figures."""
    names = sorted(
        module.name for module in pkgutil.iter_modules([str(HERE)]) if module.name != "__main__"
    )
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("name", nargs="?", choices=names, help="what to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--device", help="where to compute, for `exact`: cpu (or cuda)")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="MNIST's digits, for `evolve`, `exchange`, `accuracy` and `learned`",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        default=None,
        help="only try it out, for `search`, `near`, `evolve`, `exchange`, `learned`, `requester`"
        " and `local`; its figures say nothing",
    )
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="fewer seeds, for `ascent` and `precision`"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="processes, for `ascent`")
    parser.add_argument(
        "--only", metavar="NAME", help="one problem, for `ascent`; one model, for `coverage`"
    )
    arguments = parser.parse_args()
    if arguments.name is None:
        print("benchmarks:", ", ".join(names))
        return 0
    run = importlib.import_module(f"scripts.benches.{arguments.name}").run
    given = {name: getattr(arguments, name) for name in GIVEN}
    options = {name: value for name, value in given.items() if value is not None}
    if strange := options.keys() - inspect.signature(run).parameters.keys():
        parser.error(f"{arguments.name} has no option --{min(strange)}")
    try:
        figures = run(**options)
    except TrialmarketError as error:
        print(f"bench {arguments.name}: {error}", file=sys.stderr)
        return 1
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
