"""When the work between groups is done, and in which order; chores, of which retention is one.

How segments are sealed, merged and expired is in `timeline/lsm/upkeep/`.

It may import `store` of the engine, `commit` and what stands below it. All work goes in slices.
"""
