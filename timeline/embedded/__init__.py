"""The Python API: a store in this process.

    calls        what every call shares: its arguments, the engine's lock, the lease
    reader       what one timeline holds, and
    handle       the same with what writes to it
    transaction  several operations as one commit
    log          the commit log
    messaging    conversations and users
    database     all of it: what `timeline.open` gives

It may import all of timeline/ but `verification`. It checks what callers give, calls the parts
below, and holds no state of its own beside what keeps a store open.
"""
