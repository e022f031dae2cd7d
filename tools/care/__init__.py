"""Verbs that keep a store sound and small.

They may import `cli` and `sources`. Each file is one verb; the work itself is the engine's.
"""
