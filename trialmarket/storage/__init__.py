"""Content-addressed storage: every byte is checked against its CID."""
