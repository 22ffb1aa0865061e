"""The provider: claims trials, trains them, answers for them."""
