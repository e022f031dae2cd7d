"""One client's socket: its commands in order, its replies in order, and the fast paths.

Imports `commands`, and what that imports.
"""
