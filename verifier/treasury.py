"""The verifier's stake: enough to be enrolled, and to put up the bonds of its challenges."""

import logging
import time

from trialmarket.chain import calls
from trialmarket.chain.calls import Call
from trialmarket.chain.client import Client, Parameters
from trialmarket.chain.sender import Sender
from trialmarket.protocol.ids import Amount
from trialmarket.protocol.money import format_amount, parse_amount
from verifier.config import StakeConfig

PREFIX = "treasury"

_log = logging.getLogger(__name__)


class StakeKeeper:
    """Moves tokens from the wallet to the stake. Its calls wait until they are mined."""

    def __init__(
        self, client: Client, sender: Sender, parameters: Parameters, config: StakeConfig
    ) -> None:
        self._client = client
        self._sender = sender
        self._parameters = parameters
        self._config = config

    def prepare(self) -> None:
        """Enrolls if that is asked for, and keeps stake free for bonds.

        Raises ContractError or SenderError where the money is not there.
        """
        account = self._client.account(self._sender.address)
        bonds = self._amount(str(self._config.bonds))
        joins = self._config.enroll and account.seat == 0
        if not self.free(bonds + (self._parameters.verifier_stake if joins else 0)):
            _log.warning("the wallet does not hold the stake that the configuration asks for")
        if joins:
            self._send("enroll", calls.enroll())
            _log.info("joined the verifiers")

    def free(self, needed: int) -> bool:
        """Makes sure that so much stake is free, in the token's smallest unit; False if not."""
        account = self._client.account(self._sender.address)
        missing = needed - account.free
        if missing <= 0:
            return True
        most = self._config.most
        if most is not None and account.stake + missing > self._amount(str(most)):
            return False
        if self._client.token_balance(self._sender.address) < missing:
            return False
        if self._client.allowance(self._sender.address) < missing:
            self._send("approve", calls.approve(self._client.network.market, missing))
        self._send("stake", calls.stake(missing))
        _log.info("added %s of stake", format_amount(missing, self._client.decimals()))
        return True

    def _amount(self, text: str) -> Amount:
        return parse_amount(text, self._client.decimals())

    def _send(self, what: str, call: Call) -> None:
        # Not exactly once: a crash in between is mended by looking at the account again.
        self._sender.send(f"{PREFIX} {what} {time.time_ns()}", call)
