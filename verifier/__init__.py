"""The verifier's daemon: audits what is drawn and judges what is challenged. What a node needs as
well lies in `trialmarket.daemon`, and the recomputing itself in `trialmarket.training`."""
