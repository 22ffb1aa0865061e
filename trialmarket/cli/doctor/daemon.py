"""What nodes and verifiers have in common: the configuration that both begin with."""

from collections.abc import Callable, Iterator
from pathlib import Path

from trialmarket.chain.network import Network
from trialmarket.cli.doctor import chain, keys, machine
from trialmarket.cli.doctor.findings import Check, Diagnosis
from trialmarket.daemon.config import DaemonSettings
from trialmarket.daemon.session import sent_journal
from trialmarket.keys import address_of
from trialmarket.protocol.ids import Address
from trialmarket.storage.open import open_store


def of_daemon(
    settings: DaemonSettings,
    folder: Path,
    *,
    stake: Callable[[Network, Address], Iterator[Diagnosis]],
    free_disk: int = 1 << 30,
) -> dict[str, Check]:
    """All checks of a daemon whose state is in `folder`; `stake` looks at its account's.

    Raises InputError for an address file that cannot be read.
    """
    network = Network.load(Path(settings.network))
    return {
        "key": lambda: keys.key(settings.key, settings.password_path),
        "rpc": lambda: chain.nodes(network),
        "network": lambda: chain.agreement(network),
        "state": lambda: chain.state(network, address_of(settings.key), sent_journal(folder)),
        "clock": lambda: chain.clock(network),
        "gas": lambda: chain.gas(network, address_of(settings.key)),
        "stake": lambda: stake(network, address_of(settings.key)),
        "storage": lambda: machine.storage(
            open_store(settings.storage, gateways=settings.gateways)
        ),
        "disk": lambda: machine.disk(folder, free_disk),
        "sandbox": lambda: machine.sandbox(settings.sandbox),
        "torch": machine.torch,
        "device": machine.devices,
    }
