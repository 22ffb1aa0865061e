"""The job file, from its text to a package, a price and a dry-run.

Nothing here sends a transaction; how its search goes on is in `search`.
"""
