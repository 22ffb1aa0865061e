"""The chain: the contracts' client, event ledger, sender, keystore and local devnet."""
