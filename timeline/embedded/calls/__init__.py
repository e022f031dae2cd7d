"""What every call of the Python API shares: its arguments, the engine's lock, the lease.

It may import the engine and what stands below it, and nothing else of `embedded`.
"""
