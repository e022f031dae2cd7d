"""What each command does: how one is declared, and what several of them read in the same way.

Imports `service`, and what that imports. The commands themselves are in `redis` and `timeline`.
"""
