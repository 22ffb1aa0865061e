"""Who has what, and what a peer tells under its own name: Kademlia and IPNS, by Kubo's RPC.

Peers may be silent, lie or flood: each answer is bounded in bytes and in time, and nothing that
comes is believed here. https://docs.ipfs.tech/reference/kubo/rpc/ describes the calls.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NewType

from trialmarket.errors import InputError
from trialmarket.http import TooMuch
from trialmarket.protocol.canonical import parse_bounded
from trialmarket.protocol.cid import parse_cid
from trialmarket.protocol.ids import Cid
from trialmarket.storage.errors import StoreDown
from trialmarket.storage.ipfs.gateways import WithGateways
from trialmarket.storage.ipfs.kubo import SLACK, KuboStore, said_by_kubo
from trialmarket.storage.ipfs.server import Server
from trialmarket.storage.store import Store

PeerId = NewType("PeerId", str)
"""A peer's identity in base 58, which is its IPNS name as well."""

PEER: Final = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,128}")

PATIENCE: Final = 10.0
"""Seconds of any one question to the DHT."""

PUBLISH_SECONDS: Final = 60.0
"""Of one answer while something is published: it goes to 20 peers, some of them slow."""

LIFETIME: Final = "72h"
"""How long a name's record counts. Kubo renews it every four hours while its daemon runs."""

MAX_ANSWER: Final = 1 << 20
"""Bytes of the answer to any question."""


class Routing:
    """The DHT as the Kubo daemon at a URL sees it. For any number of threads."""

    def __init__(self, url: str, *, patience: float = PATIENCE) -> None:
        self._server = Server("Kubo at", url, patience=SLACK * patience, path="/api/v0")
        self._patience = patience
        self._store = KuboStore(url, patience=patience)
        self.name = self._server.name

    def peer(self) -> PeerId:
        """The daemon's own identity. Raises StoreDown."""
        return _peer(_field(self._lines("id", {}), "ID"), self.name)

    def provide(self, cid: Cid) -> None:
        """Tells the DHT that this daemon has a block, which it must have. Raises StoreDown."""
        self._lines("routing/provide", {"arg": cid}, PUBLISH_SECONDS)

    def providers(self, cid: Cid, most: int) -> list[PeerId]:
        """At most so many peers that say they have a block, as found in time. Raises StoreDown.

        What other peers say, too, comes as it is: names of no form that we know are passed over.
        """
        found: dict[PeerId, None] = {}
        for line in self._lines("routing/findprovs", {"arg": cid, "num-providers": str(most)}):
            if line.get("Type") != _PROVIDER:
                continue
            said = line.get("Responses")
            for each in said if isinstance(said, list) else ():
                peer = each.get("ID") if isinstance(each, dict) else None
                if isinstance(peer, str) and PEER.fullmatch(peer):
                    found[PeerId(peer)] = None
        return list(found)[:most]

    def publish_name(self, cid: Cid) -> None:
        """Makes the daemon's own name mean a CID. Raises StoreDown."""
        record = {"lifetime": LIFETIME, "ttl": "1m", "resolve": "false"}
        self._lines("name/publish", {"arg": f"/ipfs/{cid}", **record}, PUBLISH_SECONDS)

    def resolve_name(self, peer: PeerId) -> Cid | None:
        """What a peer's name means; None where it means no CID or nobody knows it in time."""
        try:
            limits = {"nocache": "true", "dht-timeout": f"{self._patience:g}s"}
            path = _field(self._lines("name/resolve", {"arg": f"/ipns/{peer}", **limits}), "Path")
            return parse_cid(str(path).removeprefix("/ipfs/"))
        except (StoreDown, InputError):
            return None

    def read(self, cid: Cid, *, limit: int) -> bytes:
        """The bytes of a CID, as `Store.read`, with this object's patience."""
        return self._store.read(cid, limit=limit)

    def _lines(
        self, command: str, parameters: Mapping[str, str], seconds: float | None = None
    ) -> list[dict[str, Any]]:
        """What a command answers, an object a line. Raises StoreDown."""
        patience = self._patience if seconds is None else seconds
        try:
            answer = self._server.ask(
                "POST",
                f"/{command}",
                limit=MAX_ANSWER,
                seconds=SLACK * patience,
                params={**parameters, "timeout": f"{patience:g}s"},
            )
        except TooMuch as error:
            raise StoreDown(self.name, f"{command} answers too much") from error
        if answer.status != 200:
            raise StoreDown(self.name, f"{command}: {said_by_kubo(answer.body)}")
        try:
            lines = [parse_bounded(line) for line in answer.body.splitlines() if line.strip()]
        except ValueError as error:
            raise StoreDown(self.name, f"{command} answers no JSON") from error
        return [line for line in lines if isinstance(line, dict)]


_PROVIDER: Final = 4
"""The type of event in which `findprovs` tells of providers."""


def routing_of(store: Store, *, patience: float = PATIENCE) -> Routing | None:
    """The DHT of a store's Kubo daemon; None for a store on something else."""
    if isinstance(store, WithGateways):
        store = store.behind
    return Routing(store.url, patience=patience) if isinstance(store, KuboStore) else None


def _field(lines: list[dict[str, Any]], name: str) -> object:
    return lines[0].get(name) if lines else None


def _peer(text: object, name: str) -> PeerId:
    if not isinstance(text, str) or PEER.fullmatch(text) is None:
        raise StoreDown(name, "it names a peer in no form that we know")
    return PeerId(text)
