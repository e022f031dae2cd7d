"""What is known of each command: its syntax, keys, counts of calls, and the table of all.

Imports `wire` and `errors`. Nothing here carries a command out.
"""
