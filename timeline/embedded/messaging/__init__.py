"""The Python API of conversations and users: `db.messaging`.

Rule: the verbs of the wire, typed, from any thread. Arguments come in the order of the wire: the
conversation, who acts (`-`, the application itself, when it is not given), then the rest. A call
that writes returns when its commit is durable. What takes several commits over the wire takes
several here. Ids and field values may be `str` or `bytes`. Ids come back as `str`, values as
`bytes`. What cannot be an argument raises `UsageError`, of whatever type it is.
"""

from __future__ import annotations

from timeline.embedded.messaging.conversations import ConversationCalls
from timeline.embedded.messaging.users import UserCalls


class Messaging(ConversationCalls, UserCalls):
    """Conversations and users of one store."""


__all__ = ["Messaging"]
