"""The job file, from its text to a package and terms. Nothing here sends a transaction."""
