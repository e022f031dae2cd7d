"""Where the daemon listens, whom it lets in, and how many files and sockets may be open.

Imports `logs`.
"""
