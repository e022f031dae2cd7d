"""All that touches a disk: RocksDB, files, locks, the durable mark.

It may import `formats`, `options` and `errors`. It is the only importer of `rocksdict`, and it
knows no timelines.
"""
