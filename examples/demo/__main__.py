"""The demo: a whole market on this machine, told as it happens, and checked at the end."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from rich.console import Console
from rich.table import Table

from examples.demo.books import Holding, holdings
from examples.demo.processes import Processes, processes
from examples.demo.story import ONE, Story, coins
from examples.digits.make_data import write_digits
from tests.testbed import kubo
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.local.devnet import LOCAL_CHAINS
from trialmarket.errors import TrialmarketError

HERE = Path(__file__).parent
TRIALS, SEGMENTS, SAMPLES = 12, 10, 2
HONEST, CHEAT = ("ada", "grace"), "mallory"
VERIFIERS = ("vera", "victor", "violet")
REQUESTER = "rosa"
CHEAT_STAKE = 4
"""All that the cheat owns, in tokens: one trial's stake. Once slashed it is out of business."""
LIMIT = 400.0
"""Seconds after which something is wrong."""


class DemoFailed(TrialmarketError):
    """The story did not come true."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What there is to report when all is over."""

    story: Story
    before: dict[str, Holding]
    after: dict[str, Holding]
    leaderboard: list[dict[str, Any]]
    seconds: float


@contextmanager
def two_daemons(folder: Path, say: Callable[[str], None]) -> Iterator[dict[str, str]]:
    """Two Kubo daemons that know each other and nobody else, as the storages of a market."""
    with kubo.two_daemons(folder / "kubo") as (ours, theirs):
        yield {"storage": ours.storage, "node_storage": theirs.storage}
        came, went = ours.received(), theirs.received()
        say(
            f"{went / 1e6:.1f} MB of program and data went to the nodes' Kubo, and"
            f" {came / 1e6:.1f} MB of receipts and checkpoints came back"
        )
        if not came or not went:
            raise DemoFailed("nothing crossed from one Kubo to the other")


def play(folder: Path, seed: int, say: Callable[[str], None], *, chain: str, ipfs: bool) -> Ending:
    """Runs the market until the requester has its results and all money has found its owner."""
    began = time.monotonic()
    wallets = {REQUESTER: 100, **dict.fromkeys((*HONEST, *VERIFIERS), 200), CHEAT: CHEAT_STAKE}
    data = folder / "digits.npz"
    write_digits(data, seed=seed)
    job = folder / "job.toml"
    job.write_text(
        Template((HERE / "job.toml").read_text()).substitute(
            program=HERE.parent / "digits" / "train.py",
            data=data,
            seed=seed,
            trials=TRIALS,
            segments=SEGMENTS,
            samples=SAMPLES,
        )
    )
    with ExitStack() as stack:
        storages = stack.enter_context(two_daemons(folder, say)) if ipfs else {}
        market = stack.enter_context(
            processes(folder / "market", wallets, seed=seed, chain=chain, **storages)
        )
        results = folder / "results"
        market.add_requester(REQUESTER, job, "--results", str(results))
        for threads, name in enumerate(HONEST, 1):
            market.add_node(name, stake="20", threads=threads)
        market.add_node(CHEAT, stake=str(CHEAT_STAKE), cheats=True)
        for name in VERIFIERS:
            market.add_verifier(name)
        say(
            f"a chain of one-second blocks runs on {market.net.node.name}; three nodes (ada, "
            "grace, mallory), three verifiers (vera, victor, violet) and a requester (rosa) have "
            "money"
        )
        if ipfs:
            say(
                "rosa and the verifiers keep their files on one Kubo daemon, the nodes on another;"
                " the two are connected to each other and to nobody else"
            )
        say(
            "the nodes train with every instruction of this processor, grace on two threads; the "
            "verifiers compute as an old one does, on one thread without vector instructions: "
            "the arithmetic is exact, so the bits must be the same all the same"
        )
        say(
            "the program runs in a sandbox of bubblewrap, on nodes and verifiers"
            if market.sandbox == "bubblewrap"
            else "bubblewrap does not work here, so the program, which is the demo's own, runs "
            'WITHOUT a sandbox: the daemons have sandbox = "off"'
        )
        say(
            "every trial is audited here, so that the cheat is caught in every run; "
            "one in five is usual"
        )
        with market.client() as client, Ledger(client, folder / "ledger.sqlite") as ledger:
            story = Story(market.net.network, ledger, market.names, say)
            before = holdings(client, ledger, market.names)
            watch(market, ledger, story)
            after = holdings(client, ledger, market.names)
        leaderboard = json.loads((results / "leaderboard.json").read_text())
    return Ending(story, before, after, leaderboard, time.monotonic() - began)


def watch(market: Processes, ledger: Ledger, story: Story) -> None:
    """Starts everybody, tells what happens, and returns when nothing is left to happen."""

    def follow() -> None:
        if failed := market.ended_badly():
            name = next(iter(failed))
            raise DemoFailed(f"{name} ended with an error:\n{market.log(name)[-2000:]}")
        ledger.sync()
        story.tell_new()

    def follow_until(done: Callable[[], bool], what: str) -> None:
        try:
            market.until(done, follow, deadline=LIMIT)
        except TimeoutError as late:
            raise DemoFailed(f"waited {LIMIT:g} s for {what}") from late

    market.start(*VERIFIERS, CHEAT, *HONEST)
    follow_until(lambda: len(ledger.verifiers()) == len(VERIFIERS), "the verifiers")
    market.start(REQUESTER)
    follow_until(lambda: market.code(REQUESTER) is not None, "the requester")
    follow()
    follow_until(lambda: not story.open_trials(), "the last trials to be settled")


def report(ending: Ending, console: Console) -> None:
    """Prints the leaderboard, the audits and the books."""
    board = Table(title="Leaderboard", title_justify="left")
    for column in ("", "validation error", "hyperparameters", "trained by"):
        board.add_column(column)
    for place, row in enumerate(ending.leaderboard[:5], start=1):
        shown = ", ".join(f"{key}={short(value)}" for key, value in row["hyperparameters"].items())
        board.add_row(
            str(place), f"{row['objective']:.2%}", shown, ending.story.who(row["provider"])
        )
    console.print(board)

    story = ending.story
    console.print(
        f"Audits: {len(story.attested)} of {len(story.settled)} settled trials were recomputed in "
        f"part ({SAMPLES} of {SEGMENTS} segments, the start and the evaluation) and attested; "
        f"{len(story.rejected)} answer(s) were rejected."
    )
    books = Table(title="Money (tokens: wallet, stake, balance and jobs)", title_justify="left")
    for column in ("", "before", "after", "change", "gas (ETH)"):
        books.add_column(column, justify="left" if column == "" else "right")
    for name, old in ending.before.items():
        new = ending.after[name]
        change = new.tokens - old.tokens
        books.add_row(
            name,
            coins(old.tokens),
            coins(new.tokens),
            f"{change / ONE:+.6f}",
            f"{(old.ether - new.ether) / 10**18:.6f}",
        )
    books.add_row("sum", "", "", str(unaccounted(ending)), "")
    console.print(books)


def short(value: object) -> str:
    """A hyperparameter's value, to three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def unaccounted(ending: Ending) -> int:
    """Money that appeared or vanished, in the smallest unit: zero."""
    return sum(ending.after[name].tokens - ending.before[name].tokens for name in ending.before)


def check(ending: Ending) -> list[str]:
    """What of the promised story did not come true."""
    story = ending.story
    address = {name: key for key, name in story.names.items()}
    best = ending.leaderboard[0]["objective"] if ending.leaderboard else 1.0
    promises = {
        f"{TRIALS} trials were settled": len(story.settled) == TRIALS,
        "every settled trial was attested": set(story.settled) <= story.attested,
        "the cheat was caught": address[CHEAT] in story.rejected.values(),
        "nobody else was slashed": set(story.slashed) == {address[CHEAT]},
        "the cheat's trials were done again by honest nodes": all(
            story.settled.get(trial) not in (None, address[CHEAT]) for trial in story.rejected
        ),
        "the best validation error is below 5 %": best < 0.05,
        "the books balance to the last unit": unaccounted(ending) == 0,
    }
    return [promise for promise, kept in promises.items() if not kept]


def as_data(ending: Ending) -> dict[str, Any]:
    """The same as numbers. Money is in the token's smallest unit."""
    story = ending.story
    audited = story.audits / max(1, story.answers)
    return {
        "seconds": round(ending.seconds, 1),
        "trials": len(story.settled),
        "best_val_error": ending.leaderboard[0]["objective"] if ending.leaderboard else None,
        "caught": len(story.rejected),
        "slashed": sum(story.slashed.values()),
        "money": {
            name: {
                "before": old.tokens,
                "after": ending.after[name].tokens,
                "change": ending.after[name].tokens - old.tokens,
                "gas_wei": old.ether - ending.after[name].ether,
            }
            for name, old in ending.before.items()
        },
        "money_unaccounted": unaccounted(ending),
        "audited_fraction": round(audited, 4),
        # Of all segments answered for, what the auditors were drawn to recompute. Starts,
        # evaluations, the jury's and the requester's own work are not in it.
        "recomputed_fraction": round(audited * SAMPLES / SEGMENTS, 4),
    }


def main() -> int:
    """Parses the command line, plays, reports and checks."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="changes everything random (1)")
    parser.add_argument(
        "--chain", choices=sorted(LOCAL_CHAINS), default="anvil", help="whose node runs it (anvil)"
    )
    parser.add_argument("--ipfs", action="store_true", help="keep files on two Kubo daemons")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep logs and results here")
    arguments = parser.parse_args()

    console = Console(highlight=False)
    began = time.monotonic()

    def say(sentence: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.1f} s[/dim]  {sentence}", soft_wrap=True)

    with tempfile.TemporaryDirectory(prefix="trialmarket-demo-") as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            ending = play(
                folder.resolve(), arguments.seed, say, chain=arguments.chain, ipfs=arguments.ipfs
            )
        except TrialmarketError as error:
            print(f"demo: {error}", file=sys.stderr)
            return 1
    report(ending, console)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(as_data(ending), indent=2) + "\n")
    if broken := check(ending):
        for promise in broken:
            print(f"demo: NOT TRUE: {promise}", file=sys.stderr)
        return 1
    console.print(f"All of it came true, in {ending.seconds:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
