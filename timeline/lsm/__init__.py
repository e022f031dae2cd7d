"""The log-structured merge of timelines: log, memtable, segments, in-boxes, state.

It may import `storage` and what stands below it. It knows what is committed, and not how a commit
is made.
"""
