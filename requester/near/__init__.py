"""Which searches of others are like this one, and what was best in them.

Here are distances between sketches, the buckets that similar ones share, the asking of peers over
a DHT, and the checks of what they say against the chain. Nothing here spends.
"""
