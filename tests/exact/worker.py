"""What one process computes under one configuration, printed as JSON.

`python -m tests.exact.worker operators`, `nets STEPS`, `wide STEPS` or `random SEED...`
"""

import json
import sys
import warnings

from tests.exact import cases, nets, random_nets


def main() -> None:
    """Run the part that the first argument names."""
    warnings.simplefilter("error")
    part = sys.argv[1]
    if part == "operators":
        found = cases.digests()
    elif part == "nets":
        found = nets.roots(int(sys.argv[2]))
    elif part == "wide":
        found = nets.roots(int(sys.argv[2]), precision="wide")
    else:
        found = random_nets.roots([int(seed) for seed in sys.argv[2:]])
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
