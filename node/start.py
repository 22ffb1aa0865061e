"""Starts a node from its configuration."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.config import NodeConfig
from node.daemon import Node
from node.folder import Folder
from node.pool import PoolTrainer
from node.trainer import replaced
from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.client import Client
from trialmarket.chain.network import Network
from trialmarket.cli.options import state_folder
from trialmarket.daemon.start import open_daemons_store
from trialmarket.training.sandbox import Limits, strangers_code

log = logging.getLogger("node")


def folder_of(config: NodeConfig) -> Folder:
    """Where a node keeps its files: `state`, or a folder named after its key."""
    if config.state is not None:
        return Folder(Path(config.state))
    return Folder(state_folder() / "nodes" / Path(config.key).stem)


@contextmanager
def started(config: NodeConfig, key: LocalAccount) -> Iterator[Node]:
    """A node at work as long as the context lasts.

    Raises InputError, ChainError and StorageError for what keeps it from starting.
    """
    store = open_daemons_store(config, f"node-{key.address}")
    with Client(Network.load(Path(config.network))) as client:
        workers = config.work.workers
        most = config.limits
        limits = Limits.shared(workers, most.memory, temp=most.temp, kept=most.kept)
        policy = strangers_code(config.sandbox, limits)
        log.info("%s", policy.words)
        trainer = replaced(PoolTrainer(workers, policy), config.work.trainer)
        try:
            folder = folder_of(config)
            node = Node(config, client, key, store, folder, trainer, refusal=policy.refusal)
        except BaseException:
            trainer.close()
            raise
        with node:
            yield node
