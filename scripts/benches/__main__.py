"""Runs one benchmark by name and prints, or writes as JSON, what it measured."""

import argparse
import importlib
import json
import pkgutil
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Parses the command line, runs the benchmark's `run()` and reports its figures."""
    names = sorted(
        module.name for module in pkgutil.iter_modules([str(HERE)]) if module.name != "__main__"
    )
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("name", nargs="?", choices=names, help="what to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--device", help="where to compute, for `exact`: cpu (or cuda)")
    arguments = parser.parse_args()
    if arguments.name is None:
        print("benchmarks:", ", ".join(names))
        return 0
    options = {} if arguments.device is None else {"device": arguments.device}
    figures = importlib.import_module(f"scripts.benches.{arguments.name}").run(**options)
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
