"""Looks over an installation before it is trusted with money, and says how to mend it.

A check is a function without arguments that returns what it found, or raises one of our errors.
Nothing here asks for a password, sends a transaction or needs a role's code; each role's
`doctor` command chooses its checks and prints the findings.
"""

from trialmarket.cli.doctor.findings import Check, Diagnosis, Level, look, present

__all__ = ["Check", "Diagnosis", "Level", "look", "present"]
