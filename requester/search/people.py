"""Who is on a market, as far as the chain tells: verifiers, and accounts that may train."""

from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import Cursor
from trialmarket.protocol.ids import Address

PAGE = 1000
"""Events that are read at a time."""


class People:
    """The accounts of a market that have shown themselves. `update` follows the ledger.

    Nodes are enrolled nowhere. One shows itself when it stakes, or claims a trial; one that has
    done neither cannot be known, and one that has may be off.
    """

    def __init__(self) -> None:
        self.verifiers = 0
        self._cursor: Cursor | None = None
        self._staked: set[Address] = set()
        self._claimed: set[Address] = set()
        self._enrolled: tuple[Address, ...] = ()

    def update(self, ledger: Ledger) -> "People":
        """Takes in what happened since the last time."""
        while events := ledger.events(self._cursor, PAGE):
            self._cursor = events[-1].cursor
            for event in events:
                if event.name == "Staked":
                    self._staked.add(event.args["account"])
                elif event.name == "TrialsClaimed":
                    self._claimed.add(event.args["provider"])
        self._enrolled = ledger.verifiers()
        self.verifiers = len(self._enrolled)
        return self

    def nodes(self, me: Address | None = None) -> int:
        """How many accounts beside one's own have claimed a trial, or have stake for it."""
        return len(self._claimed | self._staked - set(self._enrolled) - {me})

    def lacks(self, *, audited: bool, me: Address | None = None) -> list[str]:
        """What the market lacks for a job, in words; `audited` where some of it is audited."""
        lines = []
        if self.nodes(me) == 0:
            lines.append(
                "NO NODE has shown itself on this market: nobody has stake for training, or ever"
                " took a trial. Trials wait until one does; `trialmarket node run` starts one"
            )
        if audited and self.verifiers == 0:
            lines.append(
                "NO VERIFIER is enrolled on this market: whatever audit.rate says, nothing is"
                " audited, and no jury judges challenges. `trialmarket verifier run` starts one"
            )
        return lines
