"""The work that a store does by itself between groups: sealing, compaction, expiry, chores.

It may import `store` of the engine, `commit` and what stands below it. All work goes in slices.
"""
