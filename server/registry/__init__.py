"""What is known of each command: its syntax, its keys, its account, and the table of all.

Imports `wire` and `errors`. Nothing here carries a command out.
"""
