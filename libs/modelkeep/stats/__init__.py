"""Statistics: arrays in, numbers out.

`health`, `budget`, `alarm_budget`, `seasons`, `empirical_bernstein`, `risk_tracking`,
`online_fdr`, `lord`, `saffron`, `e_lond`, `newcombe`, `wilson`, `chernoff`,
`certain_gap` and `wilks` need the standard library alone, so that pure code may import
them; everything else needs numpy, and scipy only where a function says so.
"""
