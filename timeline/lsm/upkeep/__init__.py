"""What is done to segments when nobody asks: sealing, compaction, expiry, erasure.

It may import the other modules of `lsm` and what stands below them. All work goes in slices.
"""
