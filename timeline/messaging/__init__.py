"""Conversations and users: the verbs of a chat back end.

    access         who may do what, and what each user sees
    conversations  what changes a conversation
    delivery       what devices are told
    lists          the conversation list of a user
    searching      the messages of a user, by their words
    service        what all verbs of one store share
    inspection     what a conversation or a user is made of
    pages          what the Python API gives back

Each imports only those above it, `pages` none of them. The Python API and the daemon call a verb
with a draft (`sending`, `membership`, `lifecycle`, `userstate`, `devices`) or with a view
(`syncing`, `history`, `listing`, `counting`). Every verb begins in `access`.

Rule: a verb does one commit, or a part of one, and keeps nothing outside it. What else it needs
(options, caches) is passed to it. Nothing here knows which client calls. Whether it may act as
`actor` is for the layers above to check; so far none does.
"""
