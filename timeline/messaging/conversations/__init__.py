"""What changes a conversation: create, join, leave, send, edit, recall, own settings.

It may import `access` and what stands below it.
"""
