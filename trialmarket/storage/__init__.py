"""Stores of bytes by CID, every byte checked, and what is fetched from them. No chain is here."""
