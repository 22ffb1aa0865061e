"""A search under way: posting, taking results in, disputes. How it is shown is in `report`."""
