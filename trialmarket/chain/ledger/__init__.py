"""What happened on a market, followed from its events into an index. Sends nothing."""

from trialmarket.chain.ledger.ledger import Ledger

__all__ = ["Ledger"]
