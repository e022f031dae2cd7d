"""The commit log in files of its own: takes a record, makes it durable, reads it back, lets it go.

It may import `storage` and what stands below it. It knows LSNs and bytes, and nothing of what a
record says. A log on other machines can take its place.

Stores of format 1 kept their log in RocksDB: `former` reads it.
"""
