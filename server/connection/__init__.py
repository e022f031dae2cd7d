"""One client's socket: its commands in order, its replies in order, and the fast paths.

Imports `commands`, `service` and what these import.
"""
