"""What is done to segments without being asked for: sealing, compaction, expiry, erasure.

It may import the other modules of `lsm` and what stands below them. All work goes in slices.
"""
