"""The Redis protocol without I/O: requests from bytes, replies and entries to bytes.

Imports `errors`.
"""
