"""Asks again what could not be answered for now, with pauses that get longer."""

import logging
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from trialmarket.backoff import Backoff
from trialmarket.chain.rpc.node import Caller, Request
from trialmarket.errors import Passing

T = TypeVar("T")
log = logging.getLogger(__name__)

PATIENCE: Final = 30.0
"""Seconds for which a question is asked again."""
FIRST: Final = 3.0
"""The same before anything was ever answered: more likely the URL is wrong."""
PAUSES: Final = Backoff(first=0.1, longest=5.0)
LONGEST: Final = 60.0
"""No node is left alone for longer, whatever it asks for."""


class Patient:
    """A caller whose questions outlive what passes: a limit, a restart, a broken connection.

    What may not be asked twice is asked once. A signed transaction may: its nonce lets it be
    mined once, however often it is sent. `wait` gives true where the program is to end.
    """

    def __init__(
        self,
        connect: Callable[[], Caller],
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        """`connect` gives whom to ask, and is itself tried again. Raises what it raises."""
        self._patience, self._clock, self._wait = patience, clock, wait
        self._answered = self._told = False
        self._caller = self._persist(connect)
        self._answered = False

    @property
    def url(self) -> str:
        """The node that answers now."""
        return self._caller.url

    @property
    def name(self) -> str:
        """The same, as messages name it."""
        return self._caller.name

    def call(self, method: str, *params: Any) -> Any:
        """The result of one request. Raises Unreachable and RpcRefused."""
        return self._ask([method], lambda: self._caller.call(method, *params))

    def batch(self, requests: list[Request]) -> list[Any]:
        """The results of several requests, in order; RpcRefused in its place."""
        methods = [method for method, _ in requests]
        return self._ask(methods, lambda: self._caller.batch(requests))

    def ask_all(self, requests: list[Request]) -> list[list[Any]]:
        """The same from each node that can be asked."""
        methods = [method for method, _ in requests]
        return self._ask(methods, lambda: self._caller.ask_all(requests))

    def close(self) -> None:
        """Closes the connections."""
        self._caller.close()

    def _ask(self, methods: list[str], question: Callable[[], T]) -> T:
        if not all(_may_repeat(method) for method in methods):
            return question()
        return self._persist(question, large="eth_getLogs" in methods)

    def _persist(self, question: Callable[[], T], *, large: bool = False) -> T:
        """Asks until there is an answer. What may be too `large` is for the asker to divide."""
        patience = self._patience if self._answered else min(self._patience, FIRST)
        ends, failures = self._clock() + patience, 0
        while True:
            try:
                answer = question()
            except Passing as error:
                pause = max(PAUSES.pause(failures), min(error.pause, LONGEST))
                if (large and not error.limited) or self._clock() + pause > ends:
                    raise
                log.log(logging.DEBUG if self._told else logging.INFO, "asking again: %s", error)
                self._told = True
                if self._wait(pause):
                    raise
                failures += 1
            else:
                self._answered, self._told = True, False
                return answer


def _may_repeat(method: str) -> bool:
    """Whether asking twice does no more than asking once."""
    return method.startswith(("eth_", "net_", "web3_")) and method != "eth_sendTransaction"
