"""Where a verb looks: a data directory or a live daemon, with the same reads for both.

It may import `timeline`, and nothing else of the tools. `source` says what can be read, `directory`
and `daemon` do it, `opening` takes the one that was named.
"""
