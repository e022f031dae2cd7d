"""The options of the daemon: what they are, where they are read from, how they are shown.

Imports `wire`, for the bounds of requests.
"""
