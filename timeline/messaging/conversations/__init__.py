"""What changes a conversation: create, delete, join, leave, send, edit, recall, user state.

It may import `access` and what stands below it.
"""
