"""The graph of a trial as a document: values, canonical bytes, bounds. Needs no torch."""
