"""The Python API: database, handles, transactions, the log, conversations and users.

It may import all of timeline/ but `verification`. It checks what callers give, calls the parts
below, and holds no state of its own beside what keeps a store open.
"""
