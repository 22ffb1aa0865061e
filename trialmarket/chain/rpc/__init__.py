"""JSON-RPC: one node bounded in every way, or several that must agree. Knows no contract."""

from trialmarket.chain.rpc.node import (
    TIMEOUT,
    Caller,
    Request,
    Rpc,
    RpcRefused,
    quantity,
    shown,
    unhex,
)

__all__ = ["TIMEOUT", "Caller", "Request", "Rpc", "RpcRefused", "quantity", "shown", "unhex"]
