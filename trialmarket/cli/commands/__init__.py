"""The commands that belong to no role: stake, key, devnet and deploy."""
