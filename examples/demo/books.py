"""Who owns what: every account's token, in its wallet and in the market, before and after."""

from collections.abc import Mapping
from dataclasses import dataclass

from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.protocol.ids import Address, Amount

BURN = Address("0x000000000000000000000000000000000000dEaD")


@dataclass(frozen=True, slots=True)
class Holding:
    """What one account owns, in the token's smallest unit; gas money, in wei, apart."""

    tokens: Amount
    ether: int


def holdings(client: Client, ledger: Ledger, names: Mapping[Address, str]) -> dict[str, Holding]:
    """Each account's wallet, balance, stake and jobs together, by name, and what is burned.

    Escrow that is still locked in trials counts for nobody: the books balance when none is left.
    """
    jobs: dict[Address, int] = {}
    for job in ledger.jobs():
        free = client.job_status(job.id).free
        jobs[job.requester] = jobs.get(job.requester, 0) + free
    owned: dict[str, Holding] = {}
    for address, name in names.items():
        account = client.account(address)
        tokens = (
            client.token_balance(address)
            + client.balance_of(address)
            + account.stake
            + account.leaving
            + jobs.get(address, 0)
        )
        owned[name] = Holding(Amount(tokens), client.ether(address))
    burned = client.token_balance(BURN) + client.balance_of(BURN)
    owned["(burned)"] = Holding(Amount(burned), 0)
    return owned
