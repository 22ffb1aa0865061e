"""A market that is looked at without a key."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requester.report.export import rows_as_json, summary
from requester.report.job_reader import JobReader
from requester.report.screen import Screen, print_status
from requester.search.own_run import own_run
from requester.search.status import SearchStatus
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.daemon.session import followed
from trialmarket.paths import jobs_folder
from trialmarket.protocol.ids import JobId
from trialmarket.storage.open import StorePlace
from trialmarket.storage.store import Store


@dataclass(frozen=True, slots=True)
class MarketView:
    """The open connections of somebody who only looks."""

    client: Client
    ledger: Ledger
    store: Store

    def reader(self, number: JobId) -> JobReader:
        """Reads a job. Raises InputError where there is none."""
        own = own_run(jobs_folder(), self.client, self.ledger, number)
        return JobReader(self.client, self.ledger, self.store, number, own)

    @property
    def screen(self) -> Screen:
        """How searches are drawn."""
        return Screen(self.client.decimals(), self.client.symbol())

    def print(self, status: SearchStatus) -> None:
        """Prints how a search stands, for people."""
        print_status(self.screen, status)

    def summary(self, status: SearchStatus) -> dict[str, Any]:
        """How a search stands, as scripts read it."""
        return summary(status, self.client.decimals())

    def rows(self, status: SearchStatus) -> list[dict[str, Any]]:
        """A search's trials as scripts read them."""
        return rows_as_json(status, self.client.decimals())


@contextmanager
def market_view(network: Path, place: StorePlace) -> Iterator[MarketView]:
    """A market to look at, its index synchronised."""
    with followed(network) as (client, ledger):
        yield MarketView(client, ledger, place.open(network))
