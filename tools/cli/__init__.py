"""The command line itself: how a verb is made, what its arguments mean, how it prints and fails.

It may import `sources`. It knows no verb.
"""
