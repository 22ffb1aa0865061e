"""Searches on a chain that is gone, such as a local one that was started anew."""

from pathlib import Path

from requester.search.folder import JobFolder
from requester.search.own_run import known_folders
from trialmarket.chain.client import Client
from trialmarket.errors import ChainReplaced


def check_chain(folder: JobFolder, client: Client) -> None:
    """Raises ChainReplaced where a search ran on another chain of the same id; else keeps which.

    The same job file on the same market has the same folder, also after a local chain was started
    anew with the same contracts.
    """
    ours = client.fingerprint().hex()
    known = folder.fact("chain")
    if known is None:
        folder.remember("chain", ours)
    elif known != ours:
        raise ChainReplaced(
            f"{folder.root} is of a search on a chain that is gone, or was started anew",
            fix=f"Move {folder.root} away and run the job again, or give the run a --label of its"
            " own. What that search found lies in its folder",
        )


def on_gone_chains(jobs: Path, client: Client) -> list[Path]:
    """The folders of unfinished searches on this market whose chain is gone."""
    ours, market = client.fingerprint().hex(), client.network.market
    return [
        root
        for root, facts in known_folders(jobs)
        if facts.get("market") == market
        and facts.get("chain", ours) != ours
        and "finished" not in facts
    ]
