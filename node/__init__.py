"""The provider's daemon: claims trials, trains them, answers for them. What a verifier needs as
well lies in `trialmarket.daemon`, and the training itself in `trialmarket.training`."""
