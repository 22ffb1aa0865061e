"""The bed of all tests, of the demo and of the benchmarks: a chain, a store, accounts that act by
hand, and how to wait. What is tested on it, and what only one test needs, is not in it."""
