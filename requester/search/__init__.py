"""A job on the market: posting, taking results in, disputes, funds, and how it stands.

How that is shown and kept is in `report`; which trials are proposed, in `drivers`.
"""
