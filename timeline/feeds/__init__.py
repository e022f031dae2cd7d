"""Feeds: publish, follow, and read what those whom one follows published.

Rule: functions over a `Draft` for what changes something, over a view for what only reads. Posts
lie once, in the timeline of their author. A home is resolved against what is so now: who is
followed, what is there. So nothing is cleaned up later, and nothing can be forgotten.

The caller holds the engine's lock.
"""
