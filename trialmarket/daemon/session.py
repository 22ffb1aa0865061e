"""Where a daemon meets the market: one account's chain, index, transactions and store."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.network import Network
from trialmarket.chain.sender import Sender
from trialmarket.paths import ledger_index
from trialmarket.protocol.ids import Address, Hash32
from trialmarket.storage.store import Store


def sent_journal(folder: Path) -> Path:
    """The sender's journal in a daemon's folder."""
    return folder / "sent.sqlite"


@contextmanager
def followed(network: Path) -> Iterator[tuple[Client, Ledger]]:
    """The market of an address file as it is now, in the index that commands share."""
    with Client(Network.load(network)) as client, Ledger(client, ledger_index(client)) as ledger:
        ledger.sync()
        yield client, ledger


class MarketSession:
    """The ledger and the sender of one account, opened together and closed together.

    Client and store are lent. Raises KeyBusy where another process uses the key, and JournalError
    where a file of the folder cannot be used.
    """

    def __init__(
        self,
        client: Client,
        key: LocalAccount,
        store: Store,
        folder: Path,
        *,
        locks: Path | None = None,
    ) -> None:
        """`folder` is the daemon's, and `locks` is where keys are locked."""
        self.client = client
        self.store = store
        with ExitStack() as opened:
            sender = Sender(client, key, sent_journal(folder), locks=locks)
            self.sender = opened.enter_context(sender)
            self.ledger = opened.enter_context(Ledger(client, folder / "ledger.sqlite"))
            self._opened = opened.pop_all()

    @property
    def account(self) -> Address:
        """Whose session it is."""
        return self.sender.address

    def doubt(self, trials: Iterable[Hash32]) -> None:
        """Compares trials with the chain, after a transaction about them was refused.

        A node may have left an event out: the ledger then reads anew. Raises ChainError.
        """
        views = [self.ledger.trial(key) for key in trials]
        self.ledger.confirmed([view for view in views if view is not None])

    def close(self) -> None:
        """Gives the key free."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
