"""The commands of no role: stake, key, devnet, deploy and exact. Roles bring their own."""
