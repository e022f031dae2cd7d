"""What clients are told without asking: devices, channels, and keys whose answers they keep.

Imports `clients`, `registry` and `wire`.
"""
