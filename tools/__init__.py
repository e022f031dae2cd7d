"""The command line `timeline`, installed as `timeline_tools`: one file a verb.

Rule: a verb works on a stopped data directory through the embedded API, or asks a live daemon over
the wire; nothing here reads the store's files by itself.
"""
