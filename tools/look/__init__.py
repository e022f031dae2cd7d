"""Verbs that look into a store and change nothing.

They may import `cli` and `sources`. Each file is one verb; `printing` shows an entry and a commit.
"""
