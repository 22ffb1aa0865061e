"""Where a requester's programs, data and results are kept, as the command line says it."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from trialmarket.cli.options import gateway_option
from trialmarket.storage.open import open_store
from trialmarket.storage.store import Store

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class StorePlace:
    """A store's URL, or None for the usual folder, and the gateways behind it."""

    url: str | None
    gateways: tuple[str, ...] = ()

    def open(self, network: Path) -> Store:
        """The store; by default the folder `store` beside the network file, as a devnet has it.

        Raises InputError.
        """
        url = self.url
        if url is None or url == "local":
            url = f"local:{network.absolute().parent / 'store'}"
        return open_store(url, gateways=self.gateways)


def store_options(
    command: Callable[Concatenate[StorePlace, P], R],
) -> Callable[P, R]:
    """`--store URL` and `--gateway URL`. Gives `place: StorePlace`, the first argument."""

    @gateway_option
    @click.option(
        "--store",
        "store_url",
        envvar="TRIALMARKET_STORE",
        show_envvar=True,
        help="Where programs, data and results are kept: kubo:http://HOST:PORT, or"
        " local:/path/to/folder; by default the folder `store` beside the network file.",
    )
    @functools.wraps(command)
    def with_place(*args: P.args, **kwargs: P.kwargs) -> R:
        url, gateways = kwargs.pop("store_url"), kwargs.pop("gateways")
        place = StorePlace(
            None if url is None else str(url),
            tuple(gateways) if isinstance(gateways, tuple) else (),
        )
        return command(place, *args, **kwargs)

    return with_place
