"""What the daemon writes about itself: structured lines, and the streams that they go to.

Imports nothing else of the server.
"""
