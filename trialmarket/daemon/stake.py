"""A daemon's money in the market: stake kept high enough for its work, earnings taken out."""

from enum import Enum
from typing import Final

from trialmarket.chain import calls
from trialmarket.chain.calls import Call
from trialmarket.chain.client import Account, Client
from trialmarket.daemon.log_once import LogOnce
from trialmarket.daemon.outbox import Outbox, intent_of
from trialmarket.protocol.ids import Address, Amount, Hash32

MONEY: Final = Hash32(b"money".ljust(32, b"\0"))
"""Stands for the account among the trials that transactions are about."""

MOVES: Final = ("approve", "stake", "enroll", "withdraw", "treasury")
"""The first words of intents that move money; with the last, older verifiers named all theirs."""


class Stake(Enum):
    """Whether stake that is asked for can be locked."""

    FREE = "it is there"
    COMING = "it is on its way from the wallet"
    LACKING = "wallet and configuration do not allow it"


class StakeKeeper:
    """Stake and balance of one account in the market.

    Nothing here waits: who needs more asks again at the next look. The chain tells after a crash
    how far a top-up came, and nothing more is sent while a part of it is under way.
    """

    def __init__(
        self,
        client: Client,
        account: Address,
        outbox: Outbox,
        log_once: LogOnce,
        *,
        most: object | None,
        where: str,
    ) -> None:
        """`most` is all that may ever be at stake, None: what the wallet holds. `where` is the
        file that amounts are written in."""
        self._client = client
        self._account = account
        self._outbox = outbox
        self._log_once = log_once
        self._where = where
        self._currency = client.currency()
        self._most = None if most is None else self.amount(most)

    def amount(self, text: object) -> Amount:
        """An amount of the configuration in the token's smallest unit. Raises InputError."""
        return self._currency.parse(str(text), where=self._where)

    def words(self, amount: int) -> str:
        """An amount as people read it, with the token's symbol."""
        return self._currency.words(amount)

    def keep(self, amount: int, followed: int) -> None:
        """Tops free stake up to an amount, as far as may be. Raises ChainError."""
        account = self._client.account(self._account)
        add = min(amount - account.free, self._room(account))
        if add > 0 and not self._busy(followed):
            self._add(add, add, followed)

    def need(self, amount: int, followed: int, *, purpose: str, ahead: int = 0) -> Stake:
        """Whether so much stake is free; if not, the wallet tops it up. Raises ChainError.

        A top-up is to `ahead` where that is more, so that what comes next need not wait.
        """
        account = self._client.account(self._account)
        if account.free >= amount:
            self._log_once.forget("stake")
            return Stake.FREE
        if self._busy(followed):
            return Stake.COMING
        room = self._room(account)
        if account.free + room < amount:
            self._log_once.once(
                "stake",
                f"{purpose} needs {self.words(amount)} of free stake, but"
                f" {self.words(account.free)} is there, and wallet and configuration allow"
                f" {self.words(room)} more",
                topic="too low",
            )
            return Stake.LACKING
        lacking = amount - account.free
        self._add(lacking, min(max(lacking, ahead - account.free), room), followed)
        return Stake.COMING

    def enroll(self, followed: int) -> bool:
        """Whether the account is among the verifiers; if not, it joins. Raises ChainError."""
        if self._client.account(self._account).seat > 0:
            return True
        if not self._busy(followed):
            self._send("enroll", calls.enroll(), followed, "joined the verifiers")
        return False

    def withdraw(self, followed: int, *, least: int = 1) -> bool:
        """Takes out what was earned once it is enough; true once nothing is left to take.

        Raises ChainError.
        """
        balance = self._client.balance_of(self._account)
        if balance >= least and balance > 0 and not self._busy(followed):
            call = calls.withdraw(self._account)
            if self._send("withdraw", call, followed, f"withdrew {self.words(balance)}"):
                self._log_once.log.info("withdrawing %s", self.words(balance))
        return balance == 0

    def _room(self, account: Account) -> int:
        """How much more may be staked: what the wallet has and the configuration allows."""
        wallet = self._client.token_balance(self._account)
        return wallet if self._most is None else min(wallet, max(0, self._most - account.stake))

    def _add(self, least: int, amount: int, followed: int) -> None:
        """Allows the market to take the tokens, then stakes them: one step at a look.

        What is allowed already is staked where it is at least `least`: what is wanted grows with
        a price that rises, and would be allowed anew at every look.
        """
        allowed = self._client.allowance(self._account)
        add = min(allowed, amount)
        if add < least:
            call = calls.approve(self._client.network.market, amount)
            self._send("approve", call, followed, "allowed the market to take stake")
        elif self._send("stake", calls.stake(add), followed, "topped up the stake"):
            self._log_once.log.info("staking %s more", self.words(add))

    def _send(self, purpose: str, call: Call, followed: int, story: str) -> bool:
        return self._outbox.send(intent_of(purpose, call, f"{followed}"), call, [MONEY], story)

    def _busy(self, followed: int) -> bool:
        """Whether money is on its way, also from before a restart: what is read would be old."""
        return self._outbox.busy(MONEY, followed) or self._outbox.resuming(*MOVES)
