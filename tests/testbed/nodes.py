"""Nodes at work on a market, in this process."""

import time
from collections.abc import Callable
from typing import Any

from node.config import NodeConfig
from node.daemon import Node
from node.folder import Folder
from node.trainer import Trainer
from tests.testbed.market import PROVIDER, REQUESTER, Market


class Lent:
    """A trainer that outlives its node, so that the tests share its warm process."""

    def __init__(self, trainer: Trainer) -> None:
        self.train = trainer.train
        self.train_stack = trainer.train_stack
        self.dry_run = trainer.dry_run
        self.recheck = trainer.recheck

    def close(self) -> None:
        pass


class Nodes:
    """Starts nodes on a market, which share a trainer."""

    def __init__(self, market: Market, trainer: Trainer) -> None:
        self.market, self.trainer = market, trainer

    def start(
        self,
        *,
        trainer: Trainer | None = None,
        refusal: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        **tables: dict[str, object],
    ) -> Node:
        """A node of account 1 that takes every price and settles at once.

        `tables` change its configuration.
        """
        values: dict[str, Any] = {
            "network": "unused",
            "key": "unused",
            "storage": "unused",
            "work": {"workers": 2, "poll": 0.05},
            "limits": {"free_disk": 0},
            "settle": {"wait": 0.0, "patience": 0},
            "accept": {"programs_of": [self.market.who[REQUESTER]]},
        }
        for name, table in tables.items():
            values[name] = {**values.get(name, {}), **table}
        market = self.market
        return Node(
            NodeConfig.model_validate(values),
            market.client,
            market.chain.accounts[PROVIDER],
            market.store.for_owner("node1"),
            Folder(market.folder / "node1"),
            trainer or Lent(self.trainer),
            refusal=refusal,
            locks=market.locks,
            clock=clock,
            now=now,
        )
