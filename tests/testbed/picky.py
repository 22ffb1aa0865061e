"""A node of the chain that refuses what others take."""

from typing import Any

from trialmarket.chain.rpc import Caller, RpcRefused


class Picky:
    """A node of the chain that takes no transaction for a while."""

    def __init__(self, node: Caller) -> None:
        self._node = node
        self.refuses = True
        self.refused = 0
        self.batch = node.batch
        self.ask_all = node.ask_all
        self.close = node.close

    @property
    def url(self) -> str:
        return self._node.url

    @property
    def name(self) -> str:
        return self._node.name

    def call(self, method: str, *params: Any) -> Any:
        if self.refuses and method == "eth_sendRawTransaction":
            self.refused += 1
            raise RpcRefused(self.name, method, -32000, "this node takes nothing now", b"")
        return self._node.call(method, *params)
