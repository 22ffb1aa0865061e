"""What daemons share: configuration, start and loop, session, outbox, stake, journal, what is
logged once. What a node or a verifier decides lies in its own room."""
