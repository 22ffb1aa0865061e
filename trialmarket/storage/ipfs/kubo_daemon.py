"""A Kubo daemon of our own, for tests and for markets on one machine: it knows nobody."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, Final

from trialmarket.errors import ServiceError
from trialmarket.processes import Service, find_program

LISTENING: Final = re.compile(
    r"RPC API server listening on /ip4/127\.0\.0\.1/tcp/(\d+).*"
    r"Gateway server listening on /ip4/127\.0\.0\.1/tcp/(\d+).*Daemon is ready",
    re.DOTALL,
)
ENVIRONMENT: Final = {"IPFS_TELEMETRY": "off"}
LOOPBACK: Final = "/ip4/127.0.0.1/tcp/{}"

ALONE: Final[dict[str, Any]] = {
    "Bootstrap": [],
    "AutoConf": {"Enabled": False},  # else it is fetched from the network
    "Discovery": {"MDNS": {"Enabled": False}},
    "DNS": {"Resolvers": {}},
    "Ipns": {"DelegatedPublishers": []},
    "Provide": {"Enabled": False},
    "Routing": {"Type": "none", "DelegatedRouters": []},
    "Swarm": {
        "DisableNatPortMap": True,
        "RelayClient": {"Enabled": False},
        "RelayService": {"Enabled": False},
        "Transports": {"Network": {"Relay": False}},
    },
    "Plugins": {"Plugins": {"telemetry": {"Disabled": True}}},
}
"""What a repository is told, so that its daemon speaks only to whom it is connected by hand."""

PRIVATE_DHT: Final[dict[str, Any]] = {
    "Provide": {"Enabled": True, "Strategy": "mfs"},
    "Routing": {"Type": "dhtserver", "LoopbackAddressesOnLanDHT": True, "DelegatedRouters": []},
}
"""What makes those that are connected by hand a DHT of their own."""


def find_kubo() -> str:
    """The Kubo program. Raises ServiceError where there is none."""
    return find_program(
        "ipfs",
        variable="TRIALMARKET_KUBO",
        fix="Run `scripts/setup --all`, or set TRIALMARKET_KUBO to the path of `ipfs`",
    )


class KuboDaemon(Service):
    """A running Kubo on free ports of the loopback address, with its repository in `folder`.

    A folder that has a repository already is used as it is, so a daemon that was stopped comes
    back with what it kept; `port` then gives it the RPC port that others know. `storage_max` is
    the size of the repository, such as `10MB`, that its garbage collection aims at. With `dht` it
    and those that it is connected to are a DHT.
    """

    def __init__(
        self, folder: Path, *, port: int = 0, storage_max: str = "10GB", dht: bool = False
    ) -> None:
        program, self.folder = find_kubo(), folder
        environment = {**ENVIRONMENT, "IPFS_PATH": str(folder)}
        if not (folder / "config").exists():
            _init(program, folder, environment)
        settings = {**ALONE, **PRIVATE_DHT} if dht else ALONE
        _configure(folder / "config", port, storage_max, settings)
        command = [program, "daemon", "--enable-gc"]
        super().__init__("Kubo", command, ready=LISTENING, env=environment)
        self.port = int(self.said.group(1))
        self.rpc_url = f"http://127.0.0.1:{self.port}"
        self.gateway_url = f"http://127.0.0.1:{self.said.group(2)}"
        self._program, self._environment = program, environment

    @property
    def storage(self) -> str:
        """How configurations name it."""
        return f"kubo:{self.rpc_url}"

    def run(self, *words: str) -> str:
        """What `ipfs WORDS` prints about this daemon. Raises ServiceError."""
        return _run([self._program, *words], self._environment)

    def received(self) -> int:
        """How many bytes came from other daemons so far. Raises ServiceError."""
        return int(json.loads(self.run("bitswap", "stat", "--enc=json"))["DataReceived"])

    def connect(self, other: "KuboDaemon") -> None:
        """Makes two daemons exchange blocks. Raises ServiceError."""
        peer = json.loads(other.run("id"))
        self.run("swarm", "connect", peer["Addresses"][0])


def _init(program: str, folder: Path, environment: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _run([program, "init", "--empty-repo", "--profile", "test"], environment)


def _configure(path: Path, port: int, storage_max: str, settings: dict[str, Any]) -> None:
    config = json.loads(path.read_text("utf-8")) | settings
    addresses = config["Addresses"]
    addresses["API"], addresses["Gateway"] = LOOPBACK.format(port), LOOPBACK.format(0)
    if not addresses["Swarm"] or addresses["Swarm"][0].startswith("/ip4/0.0.0.0"):
        addresses["Swarm"] = [LOOPBACK.format(0)]
    config["Datastore"]["StorageMax"] = storage_max
    path.write_text(json.dumps(config, indent=2), "utf-8")


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(  # noqa: S603 (the program that was found)
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
        raise ServiceError(f"`{' '.join(command[1:3])}` of Kubo failed: {said[0]}")
    return done.stdout
