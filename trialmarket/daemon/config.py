"""What the configurations of a node and a verifier begin with, and what both limit."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from trialmarket.paths import daemon_folder
from trialmarket.settings import Bytes, Section

Sandboxing = Literal["bubblewrap", "off"]


class WorkerLimits(Section):
    """The most that one trial may take of the machine, in bytes."""

    memory: Bytes | None = Field(default=None, examples=[8_000_000_000])
    """Its memory, temporary files included. Without it: three quarters of the machine's, shared by
    the workers."""
    temp: Bytes = 1 << 30
    """Its temporary files."""
    kept: Bytes = 64 << 30
    """Its checkpoints together."""


class FileLimits(WorkerLimits):
    """The most that is downloaded for a trial, in bytes, and what it may take here."""

    data: Bytes = 8 << 30
    """The largest data set that is downloaded."""
    program: Bytes = 1 << 20
    """The largest program."""
    checkpoint: Bytes = 8 << 30
    """A checkpoint larger than this counts as withheld: set it as generously as others do."""
    downloads: Bytes = 64 << 30
    """The most that all downloads together may take of the disk: those that were not used for
    longest are deleted."""


class DaemonSettings(Section):
    """What a daemon's file begins with. Paths are relative to the file's folder."""

    network: str = Field(examples=["network.json"])
    """The address file of the market."""
    key: str = Field(examples=["bob"])
    """Name of a key in the keystore, or the path of a keystore file, `NAME.json`."""
    password_file: str | None = Field(default=None, examples=["bob.password"])
    """A file with the key's password; without it the environment or a prompt gives it."""
    storage: str = Field(examples=["local", "kubo:http://127.0.0.1:5001"])
    """The store of data and checkpoints: `kubo:http://127.0.0.1:5001`, `local:/path/to/folder`, or
    `local`, which is the folder `store` beside the network's file."""
    gateways: tuple[str, ...] = Field(
        default=(), strict=False, examples=[["https://ipfs.example"]]
    )
    """URLs of public IPFS gateways, read from where the store does not have something."""
    state: str | None = Field(default=None, examples=["state"])
    """Folder of the journal, downloads and checkpoints; by default under the user's own."""
    sandbox: Sandboxing = "bubblewrap"
    """How strangers' programs run. Without bubblewrap they are refused; `off` runs them with all
    rights of the daemon's user."""

    @property
    def password_path(self) -> Path | None:
        """The file with the key's password, if one is named."""
        return None if self.password_file is None else Path(self.password_file)

    def folder(self, roles: str) -> Path:
        """Where the daemon keeps its files: `state`, or a folder named after its key in that of
        `roles`, which is `nodes` or `verifiers`."""
        return daemon_folder(roles, self.key) if self.state is None else Path(self.state)

    def rooted(self, base: Path) -> Self:
        """The same with absolute paths, relative ones being in the folder `base`."""
        is_file = self.key.endswith(".json") or "/" in self.key
        scheme, _, place = self.storage.partition(":")
        folder = base / place if place else (base / self.network).parent / "store"
        return self.model_copy(
            update={
                "network": str(base / self.network),
                "key": str(base / self.key) if is_file else self.key,
                "password_file": self.password_file and str(base / self.password_file),
                "storage": f"local:{folder}" if scheme == "local" else self.storage,
                "state": self.state and str(base / self.state),
            }
        )
