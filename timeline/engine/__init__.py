"""One opening of a store and its pipeline: stage, write, fsync, apply.

It may import `commit` and what stands below it. The lock, the threads and the answer to faults
live here and nowhere else.
"""
