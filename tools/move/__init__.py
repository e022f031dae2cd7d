"""Verbs that move whole stores and timelines: backups, exports, imports.

They may import `cli` and `sources`. `exportfile` is the file of an export, `remote` what goes over
the wire.
"""
