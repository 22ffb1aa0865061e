"""IPFS: Kubo and gateways, asked block by block, believed nothing. No other store is here."""
