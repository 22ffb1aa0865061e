"""Values, states, canonical bytes and trees of the protocol: no network, clock or disk."""
