"""Pure functions between bytes and values; FORMAT.md next to them describes every byte.

Rule: nothing here does I/O or knows the engine. Every decoder rejects short, foreign or damaged
input with `CorruptError` (stored bytes) or `UsageError` (a caller's bytes).
"""
