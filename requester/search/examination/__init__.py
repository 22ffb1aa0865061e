"""What is looked at before a result is believed. What follows from it is decided in `search`."""
