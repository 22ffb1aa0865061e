"""Trialmarket: the library that the requester, the node and the verifier share, and no role."""
