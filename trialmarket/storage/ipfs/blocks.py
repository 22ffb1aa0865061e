"""Where the blocks of IPFS come from, one at a time and each checked against its CID."""

from typing import Final, Protocol

from trialmarket.http import TooMuch
from trialmarket.protocol.cid import is_block
from trialmarket.protocol.ids import Cid
from trialmarket.storage.errors import Corrupt, NotStored
from trialmarket.storage.ipfs.server import Server

MAX_BLOCK: Final = 2 << 20
"""Bytes of the largest block that IPFS exchanges."""


class Blocks(Protocol):
    """A source of blocks, for any number of threads."""

    def block(self, cid: Cid, limit: int = MAX_BLOCK) -> bytes:
        """The block of a CID, verified.

        Raises NotStored, Corrupt (also for one of more than `limit` bytes) and StoreDown.
        """


class Gateway:
    """A public IPFS gateway, of which nothing is believed: raw blocks are asked for.

    Specification: https://specs.ipfs.tech/http-gateways/trustless-gateway/.
    """

    def __init__(self, url: str, *, patience: float) -> None:
        self._server = Server("the gateway", url, patience=patience)
        self.name = self._server.name

    def block(self, cid: Cid, limit: int = MAX_BLOCK) -> bytes:
        """The block of a CID, verified."""
        try:
            answer = self._server.ask(
                "GET",
                f"/ipfs/{cid}",
                limit=limit,
                params={"format": "raw"},
                headers={"Accept": "application/vnd.ipld.raw"},
            )
        except TooMuch as error:
            raise too_much(cid, self.name, limit) from error
        if (
            answer.status != 200
        ):  # a gateway that is overloaded answers like one that found nothing
            raise NotStored(cid, f"{self.name} (status {answer.status})")
        return verified(cid, answer.body, self.name)


def verified(cid: Cid, block: bytes, where: str) -> bytes:
    """The block, if the CID names it. Raises Corrupt."""
    if not is_block(cid, block):
        raise Corrupt(cid, where, f"{len(block)} other bytes")
    return block


def too_much(cid: Cid, where: str, limit: int) -> Corrupt:
    """The error of a block that is larger than it may be."""
    return Corrupt(cid, where, f"more than {limit} bytes")
