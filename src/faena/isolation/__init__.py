"""Functions in child processes, which can be limited and killed.

`frames` is what parent and child say to one another, `child` is the process, `pool` keeps warm ones, `runner` runs
an attempt in one, `rlimits` sets what it may use.
"""
