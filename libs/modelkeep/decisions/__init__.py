"""The decision log's rows: their canonical bytes, and the root over a batch of them.

`rows` needs the standard library alone, so that one row can be proven anywhere; with
numpy, `matrix` writes the same bytes for a whole batch at once.
"""
