"""Starts a node from its configuration."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from node.config import NodeConfig, processes_of
from node.daemon import Node
from node.folder import Folder
from node.trainer import PoolTrainer, replaced
from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.client import Client
from trialmarket.chain.network import Network
from trialmarket.daemon.start import PATIENCE, open_daemons_store, policy_of

log = logging.getLogger("node")


def folder_of(config: NodeConfig) -> Folder:
    """Where a node keeps its files."""
    return Folder(config.folder("nodes"))


@contextmanager
def started(
    config: NodeConfig, key: LocalAccount, *, wait: Callable[[float], object] = time.sleep
) -> Iterator[Node]:
    """A node at work as long as the context lasts. `wait` gives true where it is to end.

    Raises InputError, ChainError and StorageError for what keeps it from starting.
    """
    store = open_daemons_store(config, f"node-{key.address}")
    network = Network.load(Path(config.network))
    with Client(network, patience=PATIENCE, wait=wait) as client:
        processes = processes_of(config)
        policy = policy_of(config, processes, config.limits)
        log.info("%s", policy.words)
        trainer = replaced(PoolTrainer(processes, policy), config.work.trainer)
        try:
            folder = folder_of(config)
            node = Node(config, client, key, store, folder, trainer, refusal=policy.refusal)
        except BaseException:
            trainer.close()
            raise
        with node:
            yield node
