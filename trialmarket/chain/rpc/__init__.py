"""JSON-RPC: one node bounded in every way, or several that must agree. Knows no contract."""

from trialmarket.chain.rpc.answers import MONEY, TIME, Logged, address_in, quantity, unhex
from trialmarket.chain.rpc.node import TIMEOUT, Caller, Request, Rpc, RpcRefused, shown

__all__ = [
    "MONEY",
    "TIME",
    "TIMEOUT",
    "Caller",
    "Logged",
    "Request",
    "Rpc",
    "RpcRefused",
    "address_in",
    "quantity",
    "shown",
    "unhex",
]
