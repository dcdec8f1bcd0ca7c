"""The command line: what can be said, one file a kind; `cli/` does it."""
