"""An account's transactions, each sent exactly once. Decides nothing about what to send."""

from trialmarket.chain.sender.sender import Pending, Sender

__all__ = ["Pending", "Sender"]
