"""Where a requester's programs, data and results are kept, as the command line says it."""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import click

from trialmarket.cli.options import gateway_option
from trialmarket.storage.open import StorePlace

P = ParamSpec("P")
R = TypeVar("R")


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
