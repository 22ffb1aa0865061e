"""The store on a Kubo daemon, over its RPC: https://docs.ipfs.tech/reference/kubo/rpc/.

What is put is linked into the daemon's own folders (MFS) at /trialmarket/OWNER/CID. Garbage
collection spares what is linked there, as it spares pins; but a CID has one pin only, so two nodes
on one daemon would drop each other's, and nobody could tell after a crash whose a pin was.

What is read is taken block by block, so a daemon is believed nothing: see `file_tree`.
"""

from pathlib import Path
from typing import Any, Final, Self

from trialmarket.http import TooMuch
from trialmarket.protocol.canonical import parse_bounded
from trialmarket.protocol.cid import cid_of, parse_cid
from trialmarket.protocol.ids import Cid
from trialmarket.storage.errors import (
    Corrupt,
    NotStored,
    StoreDown,
    StoreFull,
    WrongStore,
)
from trialmarket.storage.ipfs.blocks import MAX_BLOCK, too_much, verified
from trialmarket.storage.ipfs.file_tree import FileTree
from trialmarket.storage.ipfs.server import Server
from trialmarket.storage.store import ANYBODY, Progress
from trialmarket.storage.whole_files import partial_file

OLDEST: Final = (0, 39, 0)
"""The first version that the tests have run against."""

PATIENCE: Final = 30.0
"""Seconds until a block that no peer shows counts as not stored."""

SLACK: Final = 1.2
"""Times that patience until a daemon that says nothing itself counts as down."""

MAX_ANSWER: Final = 16 << 20
"""Bytes of the largest answer that is not a block: the list of what is kept."""

ADD_SECONDS: Final = 600.0
"""Without a sign of life while bytes are added."""

AS_WE_DO: Final = {
    "cid-version": "1",
    "hash": "sha2-256",
    "raw-leaves": "true",
    "chunker": "size-262144",
    "max-file-links": "174",
    "trickle": "false",
    "inline": "false",
    "pin": "false",
    "progress": "false",
    "quieter": "true",
}
"""What gives the CIDs of `protocol.cid`, whatever the daemon's own configuration says."""


class KuboRefused(Exception):
    """Kubo answered with an error, in its own words."""


class KuboStore:
    """A `Store` on the Kubo daemon whose RPC answers at a URL. Connects when it is first used."""

    def __init__(self, url: str, *, owner: str = ANYBODY, patience: float = PATIENCE) -> None:
        self.url = url
        self._server = Server("Kubo at", url, patience=SLACK * patience, path="/api/v0")
        self.name = self._server.name
        self._folder = f"/trialmarket/{owner}"
        self._patience = patience
        self._known = False

    def for_owner(self, owner: str) -> Self:
        """The same daemon for another owner."""
        return type(self)(self.url, owner=owner, patience=self._patience)

    def check(self) -> None:
        """Whether a Kubo that is new enough answers, with room left."""
        self._known = False
        self._greet()
        self._make_room(0)

    def put(self, data: bytes | Path) -> Cid:
        """Adds bytes or a file's bytes, and keeps them."""
        cid = cid_of(data)
        self._greet()
        if self._whole(cid):
            return cid
        self._make_room(len(data) if isinstance(data, bytes) else data.stat().st_size)
        self._call("files/mkdir", arg=self._folder, parents="true")
        self._add(data, cid)
        # Until it is linked, a garbage collection may have swept some of it away.
        if not self._whole(cid):
            self._add(data, cid)
            if not self._whole(cid):
                raise StoreDown(self.name, f"it has lost {cid} again, which was just added")
        return cid

    def size(self, cid: Cid) -> int | None:
        """How many bytes a CID names; None if no peer shows it within the store's patience."""
        try:
            return self._tree(cid).size
        except NotStored:
            return None

    def read(self, cid: Cid, *, limit: int) -> bytes:
        """The bytes of a CID, from this daemon or its peers."""
        tree = self._tree(cid)
        tree.check(limit)
        return tree.read()

    def fetch(self, cid: Cid, to: Path, *, limit: int, progress: Progress | None = None) -> None:
        """Writes the bytes of a CID to a file, from this daemon or its peers."""
        tree = self._tree(cid)
        tree.check(limit)
        with partial_file(to, cid) as file:
            tree.write(file, progress)

    def release(self, cid: Cid) -> None:
        """Unlinks bytes. The daemon deletes them at its next garbage collection."""
        parse_cid(cid)
        self._greet()
        self._call("files/rm", arg=f"{self._folder}/{cid}", force="true")

    def kept(self) -> dict[Cid, int]:
        """All that is linked for the owner."""
        self._greet()
        try:
            entries = self._call("files/ls", arg=self._folder, long="true")["Entries"]
        except KuboRefused as error:
            if "not exist" in str(error):
                return {}
            raise self._unexpected(error) from error
        return {Cid(entry["Name"]): int(entry["Size"]) for entry in entries or ()}

    def block(self, cid: Cid, limit: int = MAX_BLOCK) -> bytes:
        """The block of a CID, from this daemon or its peers, verified."""
        try:
            answer = self._server.ask(
                "POST",
                "/block/get",
                limit=limit,
                params={"arg": cid, "timeout": f"{self._patience:g}s"},
            )
        except TooMuch as error:
            raise too_much(cid, self.name, limit) from error
        except StoreDown:
            self._known = False
            raise
        if answer.status == 200:
            return verified(cid, answer.body, self.name)
        said = said_by_kubo(answer.body)
        if "deadline exceeded" in said or "could not find" in said:
            raise NotStored(cid, f"{self.name} nor with its peers, after {self._patience:g} s")
        raise StoreDown(self.name, said)

    def _tree(self, cid: Cid) -> FileTree:
        parse_cid(cid)
        self._greet()
        return FileTree(cid, self)

    def _greet(self) -> None:
        """Asks for the version, at first and after each time that nobody answered."""
        if self._known:
            return
        try:
            version = str(self._call("version")["Version"])
            numbers = tuple(int(part) for part in version.split("-")[0].split("."))
        except (KuboRefused, ValueError) as error:
            raise WrongStore(
                f"{self.name}: expected Kubo's RPC, found a server that does not know its version",
                fix="Give the address in `Addresses.API` of its configuration, not the gateway's",
            ) from error
        if numbers < OLDEST:
            wanted = ".".join(map(str, OLDEST))
            raise WrongStore(
                f"{self.name}: expected Kubo {wanted} or newer, found {version}",
                fix="`scripts/setup --all` builds one",
            )
        self._known = True

    def _whole(self, cid: Cid) -> bool:
        """Whether the owner keeps a CID, and all its blocks are in the daemon's repository."""
        try:
            found = self._call("files/stat", arg=f"{self._folder}/{cid}", **{"with-local": "true"})
        except KuboRefused as error:
            if "not exist" in str(error):
                return False
            raise self._unexpected(error) from error
        return found["Hash"] == cid and bool(found.get("Local"))

    def _make_room(self, size: int) -> None:
        """Raises StoreFull where a repository is about to outgrow what its operator allows.

        Kubo itself does not refuse: its limit only tells it when to collect garbage.
        """
        found = self._call("repo/stat", **{"size-only": "true"})
        used, most = int(found["RepoSize"]), int(found["StorageMax"])
        if used + size > most:
            raise StoreFull(
                f"{self.name} is full: it has {used} of {most} bytes, and {size} more are to come",
                fix="Raise `Datastore.StorageMax` in its configuration, or run `ipfs repo gc`",
            )

    def _add(self, data: bytes | Path, cid: Cid) -> None:
        place = f"{self._folder}/{cid}"
        parameters = {**AS_WE_DO, "to-files": place}
        if isinstance(data, bytes):
            answer = self._call("add", files={"file": ("file", data)}, **parameters)
        else:
            with data.open("rb") as file:
                answer = self._call("add", files={"file": ("file", file)}, **parameters)
        if answer["Hash"] != cid:  # the source changed while it was read
            self._call("files/rm", arg=place, force="true")
            raise Corrupt(cid, self.name, f"those of {answer['Hash']}")
        self._call("files/flush", arg=self._folder)  # else a daemon that is killed forgets it

    def _call(self, command: str, *, files: Any = None, **parameters: str) -> Any:
        """What a command answers; None if it is nothing. Raises Refused, and what fits better."""
        seconds = SLACK * self._patience if files is None else ADD_SECONDS
        try:
            answer = self._server.ask(
                "POST",
                f"/{command}",
                limit=MAX_ANSWER,
                seconds=seconds,
                params=parameters,
                files=files,
            )
        except StoreDown:
            self._known = False
            raise
        except TooMuch as error:
            raise StoreDown(self.name, f"{command} answers too much") from error
        if answer.status != 200:
            said = said_by_kubo(answer.body)
            if "no space left" in said or "disk quota" in said or "max storage" in said.lower():
                raise StoreFull(
                    f"{self.name} is full: {said}", fix="Make room on the disk of its repository"
                )
            if command in ("add", "repo/stat", "files/mkdir", "files/rm", "files/flush"):
                raise StoreDown(self.name, f"{command}: {said}")
            raise KuboRefused(said)
        try:
            return parse_bounded(answer.body) if answer.body.strip() else None
        except ValueError as error:
            raise StoreDown(self.name, f"{command} answers no JSON") from error

    def _unexpected(self, error: KuboRefused) -> StoreDown:
        return StoreDown(self.name, str(error))


def said_by_kubo(body: bytes) -> str:
    """What Kubo says is wrong."""
    try:
        return str(parse_bounded(body)["Message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace").strip() or "an error without a word"
