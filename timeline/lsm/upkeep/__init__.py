"""The work itself, on segments and in-boxes: sealing, compaction, expiry, erasure.

When each is done is decided in `timeline/engine/upkeep/`.

It may import the other modules of `lsm` and what stands below them. All work goes in slices.
"""
