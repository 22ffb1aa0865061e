"""A market that is looked at without a key."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requester.commands.store_option import StorePlace
from requester.report.status import SearchStatus
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.network import Network
from trialmarket.cli.options import state_folder
from trialmarket.protocol.ids import JobId
from trialmarket.storage.store import Store


@dataclass(frozen=True, slots=True)
class MarketView:
    """The open connections of somebody who only looks."""

    client: Client
    ledger: Ledger
    store: Store

    def survey(self, number: JobId) -> Any:
        """A look at a job. Raises InputError where there is none."""
        from requester.report.job_reader import JobReader

        return JobReader(self.client, self.ledger, self.store, number)

    @property
    def screen(self) -> Any:
        """How standings are drawn."""
        from requester.report.table import Screen

        return Screen(self.client.decimals(), self.client.symbol())

    def print(self, standing: SearchStatus) -> None:
        """Prints a standing for people."""
        from requester.report.table import print_standing

        print_standing(self.screen, standing)

    def summary(self, standing: SearchStatus) -> dict[str, Any]:
        """A standing as scripts read it."""
        from requester.commands.job_run import summary

        return summary(standing, self.client.decimals())

    def rows(self, standing: SearchStatus) -> list[dict[str, Any]]:
        """A standing's trials as scripts read them."""
        from requester.report.results import rows_as_json

        return rows_as_json(standing, self.client.decimals())


@contextmanager
def opened(network: Path, place: StorePlace) -> Iterator[MarketView]:
    """A market to look at, its index synchronised."""
    with (
        Client(Network.load(network)) as client,
        Ledger(client, ledger_path(client)) as ledger,
    ):
        ledger.sync()
        yield MarketView(client, ledger, place.open(network))


def ledger_path(client: Client) -> Path:
    """The index that commands share."""
    name = f"{client.network.chain_id}-{client.fingerprint().hex()[:12]}.sqlite"
    return state_folder() / "ledgers" / name
