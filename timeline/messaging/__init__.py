"""Conversations and users: store timelines and sync timelines, and the verbs of a chat back end.

From the verb down: `embedded` (or the daemon) calls `sending`, `membership`, `lifecycle`,
`own`, `devices` with a draft and `syncing`, `history`, `listing`, `counting` with a view; all
of them enter through `access`, which asks `roles`, and see through `visibility`. `timeline.fanout`
is below, codecs of the rows are in `timeline.formats.conversations`.

Rule: a verb does one commit, or a part of one, and keeps nothing outside it; what a command needs
of its surroundings it is given. Nothing here knows who the caller is: that he may act as `actor`
was checked before.
"""
