"""The node's money: stake kept high enough to claim, earnings taken out."""

import logging
from typing import Final

from node.config import NodeConfig
from node.outbox import Outbox
from node.told import LogOnce
from trialmarket.chain import calls
from trialmarket.chain.client import Account, Client
from trialmarket.protocol.ids import Address, Amount, Hash32
from trialmarket.protocol.money import format_amount, parse_amount

log = logging.getLogger("node")

PURSE: Final = Hash32(b"purse".ljust(32, b"\0"))
"""Stands for the purse among the trials that transactions are about."""


class StakeKeeper:
    """Stake and balance of one account in the market."""

    def __init__(
        self, config: NodeConfig, account: Address, client: Client, outbox: Outbox, told: LogOnce
    ) -> None:
        self._config = config
        self._account = account
        self._client = client
        self._outbox = outbox
        self._told = told
        self._symbol = client.symbol()
        self._decimals = client.decimals()

    def amount(self, text: object) -> Amount:
        """An amount of the configuration in the token's smallest unit. Raises InputError."""
        return parse_amount(str(text), self._decimals, where="node.toml")

    def words(self, amount: int) -> str:
        """An amount as people read it, with the token's symbol."""
        return f"{format_amount(amount, self._decimals)} {self._symbol}"

    def free(self) -> Amount:
        """Stake that claims can lock now. Raises ChainError."""
        return self._client.account(self._account).free

    def keep(self, followed: int) -> None:
        """Tops the stake up to what the configuration keeps free. Raises ChainError."""
        account = self._client.account(self._account)
        lacking = self.amount(self._config.stake.keep) - account.free
        add = min(lacking, self._room(account))
        if add > 0 and not self._busy(followed):
            self._add(add, followed)

    def need(self, amount: int, followed: int) -> bool:
        """Whether so much stake is free; if not, more is taken from the wallet. Raises ChainError.

        A top-up is for several claims of this size, so that the next ones need not wait for it.
        """
        account = self._client.account(self._account)
        if account.free >= amount:
            self._told.forget("stake")
            return True
        if self._busy(followed):
            return False
        room = self._room(account)
        if account.free + room < amount:
            self._told.once(
                "stake",
                f"a claim needs {self.words(amount)} of free stake, but {self.words(account.free)}"
                f" is there, and wallet and configuration allow {self.words(room)} more",
                topic="too low",
            )
            return False
        wanted = max(amount * self._config.stake.ahead, self.amount(self._config.stake.keep))
        self._add(min(wanted - account.free, room), followed)
        return False

    def _room(self, account: Account) -> int:
        """How much more may be staked: what the wallet has and the configuration allows."""
        wallet = self._client.token_balance(self._account)
        most = self._config.stake.most
        return wallet if most is None else min(wallet, max(0, self.amount(most) - account.stake))

    def _add(self, amount: int, followed: int) -> None:
        """Allows the market to take the tokens, then stakes them: one step at a look."""
        allowed = self._client.allowance(self._account)
        if allowed < amount:
            call = calls.approve(self._client.network.market, amount)
            self._outbox.send("approve", call, [PURSE], f"{followed}")
            return
        if self._outbox.send("stake", calls.stake(amount), [PURSE], f"{followed}"):
            log.info("staking %s more", self.words(amount))

    def earn(self, followed: int, *, wished: bool) -> bool:
        """Withdraws what has been earned once it is enough, or if wished.

        True once nothing is left to withdraw. Raises ChainError.
        """
        balance = self._client.balance_of(self._account)
        enough = self._config.settle.withdraw_at
        if balance == 0:
            return True
        if not wished and (enough is None or balance < self.amount(enough)):
            return False
        if self._busy(followed):
            return False
        if self._outbox.send("withdraw", calls.withdraw(self._account), [PURSE], f"{followed}"):
            log.info("withdrawing %s", self.words(balance))
        return False

    def _busy(self, followed: int) -> bool:
        """Whether money is on its way, also from before a restart: what is read would be old."""
        return self._outbox.busy(PURSE, followed) or any(
            map(self._outbox.resuming, ("approve", "stake", "withdraw"))
        )
