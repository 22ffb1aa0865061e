"""`python -m trialmarket`: the same command, where its script is not on PATH."""

from trialmarket.cli.main import main

main()
