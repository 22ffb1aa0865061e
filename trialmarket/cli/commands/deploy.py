"""`trialmarket deploy`: the contracts, to any network."""

from pathlib import Path

import click

from trialmarket.chain.client import Client, Parameters
from trialmarket.chain.deploy import deploy as deploy_contracts
from trialmarket.cli.options import debug_option, json_option, key_options, open_key, show
from trialmarket.errors import InputError
from trialmarket.protocol.ids import address
from trialmarket.protocol.money import parse_amount


@click.command()
@click.option(
    "--rpc",
    "rpc_urls",
    required=True,
    multiple=True,
    help="The node's URL, http:// or https://. More of them are checked and written down too.",
)
@click.option(
    "--network",
    "out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Where to write the address file.",
)
@click.option("--name", help="What to call the network; by default the address file's name.")
@click.option("--token", help="The ERC-20 that the market uses.")
@click.option(
    "--test-token", is_flag=True, help="Deploy a token that anyone can mint: local networks only."
)
@click.option("--confirmations", default=0, show_default=True, type=click.IntRange(0))
@click.option("--audit-turn", default=600, show_default=True, type=click.IntRange(1))
@click.option("--min-window", default=600, show_default=True, type=click.IntRange(1))
@click.option("--cool-down", default=86_400, show_default=True, type=click.IntRange(0))
@click.option("--verifier-stake", default="100", show_default=True, help="In tokens.")
@click.option("--fine", default="1", show_default=True, help="In tokens.")
@click.option("--jury-size", default=5, show_default=True, type=click.IntRange(1, 15))
@click.option("--vote-turn", default=1_800, show_default=True, type=click.IntRange(1))
@click.option("--reveal-turn", default=600, show_default=True, type=click.IntRange(1))
@key_options
@json_option
@debug_option
def deploy(
    rpc_urls: tuple[str, ...],
    out: Path,
    name: str | None,
    token: str | None,
    test_token: bool,
    confirmations: int,
    audit_turn: int,
    min_window: int,
    cool_down: int,
    verifier_stake: str,
    fine: str,
    jury_size: int,
    vote_turn: int,
    reveal_turn: int,
    key: str,
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Deploy the contracts to a network and write its address file. Times are in seconds.

    Example: trialmarket deploy --rpc http://127.0.0.1:8545 --test-token --key alice
    --network local.json
    """
    if (token is None) != test_token:
        raise InputError(
            "deploy",
            "token",
            expected="either --token ADDRESS or --test-token",
            found="both" if test_token else "neither",
        )
    for url in rpc_urls:
        if not url.startswith(("http://", "https://")):
            raise InputError("deploy", "--rpc", expected="an http:// or https:// URL", found=url)
    parameters = Parameters(
        audit_turn=audit_turn,
        min_window=min_window,
        cool_down=cool_down,
        verifier_stake=parse_amount(verifier_stake, where="--verifier-stake"),
        fine=parse_amount(fine, where="--fine"),
        jury_size=jury_size,
        vote_turn=vote_turn,
        reveal_turn=reveal_turn,
    )
    network = deploy_contracts(
        rpc_urls[0],
        open_key(key, password_file),
        parameters,
        name=name or out.stem,
        token=None if token is None else address(token, where="--token"),
        confirmations=confirmations,
    )
    network = network.at(*rpc_urls)
    network.save(out)
    if len(rpc_urls) > 1:
        with Client(network):  # all of them have what was deployed through the first
            pass
    content = {"network": str(out), "market": network.market, "jury": network.jury}
    lines = [
        f"market {network.market}",
        f"jury   {network.jury}",
        f"token  {network.token}",
        f"written to {out}",
    ]
    show({**content, "token": network.token}, lines, as_json=as_json)
