"""Statistics: arrays in, numbers out.

`health`, `budget`, `wilson` and `newcombe` need the standard library alone, so that
pure code may import them; everything else needs numpy, and scipy only where a function
says so.
"""
