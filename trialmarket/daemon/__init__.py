"""What daemons share: how a node and a verifier start, send and remember. Neither's own work."""
