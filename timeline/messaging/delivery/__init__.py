"""What devices are told: updates, sync, history, receipts, waiting, presence.

It may import `conversations`, `access` and what stands below them.
"""
