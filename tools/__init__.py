"""The command line `timeline`, installed as `timeline_tools`: one file for each verb.

Rule: a verb works on a data directory through the embedded API, or asks a live daemon over the
wire. Nothing here reads the store's files by itself.

Verbs are in `look/`, `care/` and `move/`, and in `bench` and `completion`. `sources/` reads
directories and daemons, `cli/` is what every verb needs. `main` has the table of verbs.
"""
