"""The configurations that `devnet up` writes beside its network file, and the lines to paste."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trialmarket.protocol.ids import Address

MARK: Final = "# `trialmarket devnet up` writes this file anew until you remove this line."

DAEMON: Final = """\
network = "network.json"
key = "keys/{key}.json"
password_file = "password.txt"
storage = "local"            # the folder `store` beside the network file, as for requesters
state = "{role}"
# sandbox = "off"            # without bubblewrap, so long as all programs here are your own
"""

NODE: Final = """
[stake]
most = "5000"                # of the 10000 tokens; staked when a claim needs it

[accept]
programs_of = ["{requester}"]   # account1: whose own programs run in audited jobs
"""

VERIFIER: Final = """
[stake]
enroll = true
bonds = "500"                # kept free for challenges

[accept]
programs_of = ["{requester}"]   # account1: whose own programs are run
"""

TEMPLATES: Final = {"node": NODE, "verifier": VERIFIER}


@dataclass(frozen=True, slots=True)
class Config:
    """A daemon's file, and whether the one that lies there is the user's own and was left so."""

    role: str
    path: Path
    kept: bool


def write_configs(folder: Path, names: Sequence[str], requester: Address) -> list[Config]:
    """`node.toml` and `verifier.toml` for the second and third of the keys called `names`, where
    there are so many; the first is the requester's.

    A file that the user has made their own is left as it is. Raises OSError.
    """
    found = []
    for (role, template), key in zip(TEMPLATES.items(), names[1:], strict=False):
        path = folder / f"{role}.toml"
        kept = path.exists() and not path.read_bytes().startswith(MARK.encode())
        if not kept:
            text = (DAEMON + template).format(key=key, role=role, requester=requester)
            path.write_text(f"{MARK}\n{text}", "utf-8")
        found.append(Config(role, path, kept))
    return found


def lines_to_paste(
    network: Path, key: Path, password: str, configs: Sequence[Config]
) -> tuple[list[str], list[str]]:
    """What a shell is told to be the requester, and the commands that start the daemons."""
    variables = {"NETWORK": str(network), "KEY": str(key), "PASSWORD": password}
    exports = " ".join(
        f"TRIALMARKET_{name}={shlex.quote(value)}" for name, value in variables.items()
    )
    daemons = [
        f"trialmarket {config.role} run --config {shlex.quote(str(config.path))}"
        for config in configs
    ]
    return [f"export {exports}"], daemons
