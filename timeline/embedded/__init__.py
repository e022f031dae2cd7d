"""The Python API: a store in this process.

    calls        what every call shares: its arguments, the engine's lock, the lease
    reader       reads one timeline
    handle       reads one timeline and writes to it
    transaction  several operations as one commit
    log          the commit log
    messaging    conversations and users
    database     all of it: what `timeline.open` gives

It may import all of timeline/ but `verification`. It checks what callers give, calls the parts
below, and holds no state of its own except what keeps a store open.
"""
