"""What devices are told of conversations: sync, events, history, receipts, subscriptions.

It may import `conversations`, `access` and what stands below them.
"""
