"""One index on the disk: schema, documents, checksums, checks.

It may import `text` and what stands below `search`.
"""
