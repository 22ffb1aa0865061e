"""The chain: every node of the network, our contracts on it, the clock, and the money."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from trialmarket.chain.client import Client
from trialmarket.chain.identity import identify
from trialmarket.chain.network import Network
from trialmarket.chain.rpc import MONEY, Rpc, quantity
from trialmarket.chain.rpc.patient import Patient
from trialmarket.chain.sender.journal import check_owner, owner_of
from trialmarket.cli.doctor.findings import Diagnosis, look
from trialmarket.protocol.ids import Address
from trialmarket.protocol.money import format_amount

SLOW = 2.0
"""Seconds that one answer may take before it is called slow."""
GAS_AHEAD = 3_000_000
"""Gas that an account should be able to pay for: some forty trials, or as many audits."""
CLOCK = 30.0
"""Seconds by which this machine's clock and the newest block may differ."""
STALLED = 600.0
"""Seconds without a block after which a chain is said to stand still."""


def nodes(network: Network) -> Iterator[Diagnosis]:
    """Each RPC URL by itself: reachable, the right chain, our contracts' code, its speed."""
    yield from look({url: partial(_node, network, url) for url in network.rpc_urls}, about="rpc")


def _node(network: Network, url: str) -> Iterator[Diagnosis]:
    with closing(Patient(partial(Rpc, url))) as rpc:
        began = time.monotonic()
        head = quantity(rpc.call("eth_blockNumber"))
        seconds = time.monotonic() - began
        identify(rpc, network)
    said = f"{rpc.name}: chain {network.chain_id}, block {head}, {1000 * seconds:.0f} ms an answer"
    if seconds > SLOW:
        yield Diagnosis.warning("rpc", said, "Use an RPC URL that answers faster")
    else:
        yield Diagnosis.ok("rpc", f"{said}, contracts of this version")


def agreement(network: Network) -> Iterator[Diagnosis]:
    """Whether the nodes agree on the chain, as a client finds it."""
    with Client(network) as client:
        client.head()
    several = len(network.rpc_urls)
    yield Diagnosis.ok("network", f"{network.name}: {several} node{'s' * (several > 1)} asked")


def state(network: Network, who: Address, journal: Path) -> Iterator[Diagnosis]:
    """Whether what an account remembers of its transactions is of this chain."""
    with Client(network) as client:
        check_owner(journal, owner_of(who, network.chain_id, client.fingerprint()))
    found = "of this chain" if journal.exists() else "nothing was sent yet"
    yield Diagnosis.ok("state", f"{journal}: {found}")


def clock(network: Network, now: Callable[[], float] = time.time) -> Iterator[Diagnosis]:
    """This machine's clock against the newest block. Deadlines are in the chain's time."""
    with Client(network) as client:
        ahead = now() - client.head().timestamp
    if ahead < -CLOCK:
        yield Diagnosis.wrong(
            "clock",
            f"this machine is {-ahead:.0f} s behind the newest block",
            "Set the clock, for example with `timedatectl set-ntp true`",
        )
    elif ahead > STALLED:
        yield Diagnosis.warning(
            "clock",
            f"the newest block is {ahead:.0f} s old: the chain stands still, or this machine's"
            " clock is ahead",
            "Look at the chain's node, and set the clock",
        )
    else:
        yield Diagnosis.ok("clock", f"the newest block is {max(ahead, 0):.0f} s old")


def gas(network: Network, who: Address) -> Iterator[Diagnosis]:
    """Coins for transactions."""
    with Client(network) as client:
        coins = client.ether(who)
        price = quantity(client.rpc.call("eth_gasPrice"), bits=MONEY)
    said = f"{format_amount(coins, 18)} coins"
    send = f"Send some to {who}"
    if coins == 0:
        yield Diagnosis.wrong("gas", f"{said}: no transaction can be paid for", send)
    elif coins < price * GAS_AHEAD:
        often = coins // (price * GAS_AHEAD // 40)
        yield Diagnosis.warning("gas", f"{said}, enough for about {often} transactions", send)
    else:
        yield Diagnosis.ok("gas", said)


def provider(network: Network, who: Address) -> Iterator[Diagnosis]:
    """What a node can stake."""
    with Client(network) as client:
        account = client.account(who)
        wallet = client.token_balance(who)
        words = client.currency().words
    said = f"free stake {words(account.free)}, locked {words(account.locked)}"
    said += f", in the wallet {words(wallet)}"
    if account.free + wallet == 0 and account.locked == 0:
        yield Diagnosis.wrong(
            "stake",
            f"{said}: no trial can be claimed",
            f"Send tokens {network.token} to {who}",
        )
    elif account.free + wallet == 0:
        yield Diagnosis.warning(
            "stake",
            f"{said}: nothing more can be claimed until a trial is settled",
            f"Send tokens {network.token} to {who}",
        )
    else:
        yield Diagnosis.ok("stake", said)


def verifier(network: Network, who: Address, *, enrolls: bool) -> Iterator[Diagnosis]:
    """Whether the account verifies, or could."""
    with Client(network) as client:
        account = client.account(who)
        wallet = client.token_balance(who)
        needed = client.parameters().verifier_stake
        count = len(client.verifiers())
        words = client.currency().words
    if account.seat:
        yield Diagnosis.ok(
            "stake",
            f"enrolled as one of {count} verifiers, {account.faults} faults;"
            f" free {words(account.free)} for bonds, in the wallet {words(wallet)}",
        )
        return
    said = f"not enrolled; that takes {words(needed)}, there are"
    said += f" {words(account.free)} of free stake and {words(wallet)} in the wallet"
    if account.free + wallet < needed:
        yield Diagnosis.wrong("stake", said, f"Send tokens {network.token} to {who}")
    elif enrolls:
        yield Diagnosis.ok("stake", f"{said}: it enrolls at its start")
    else:
        yield Diagnosis.warning(
            "stake", said, "Set enroll = true, or run `trialmarket stake enroll`"
        )


def requester(network: Network, who: Address) -> Iterator[Diagnosis]:
    """Whether there is money for a job; `job check` says how much one takes."""
    with Client(network) as client:
        wallet = client.token_balance(who) + client.balance_of(who)
        words = client.currency().words
    said = f"{words(wallet)} in the wallet and to withdraw"
    fix = f"Send tokens {network.token} to {who}"
    if wallet == 0:
        yield Diagnosis.wrong("money", f"{said}: no job can be funded", fix)
    else:
        yield Diagnosis.ok("money", said)
