"""One opening of the storage: the directory, and everything in memory that belongs to it.

It may import `commit` and what stands below it.
"""
