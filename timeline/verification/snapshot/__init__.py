"""One consistent view of a store, even of a damaged one, and the report of what is wrong.

It may import what stands below `verification`, and nothing else of it.
"""
