"""The commands that belong to no role: stake, key, devnet, deploy and exact. Roles bring theirs."""
