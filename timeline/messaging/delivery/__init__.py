"""What devices are told: sync, history, waiting, presence.

It may import `conversations`, `access` and what stands below them.
"""
