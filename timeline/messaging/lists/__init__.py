"""The conversation list of a user: order, unread counts, pages.

It may import `delivery`, `conversations`, `access` and what stands below them.
"""
