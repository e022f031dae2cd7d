"""The Python API of conversations and users: `db.messaging`.

Rule: these are the verbs of the wire, with types. Any thread may call them. Arguments come in the
order of the wire: the conversation, who acts (`-`, the application itself, when it is not given),
then the rest. A call that writes returns when its commit is durable. What takes several commits
over the wire takes several here. Ids and field values may be `str` or `bytes`. Ids come back as
`str`, values as `bytes`. An argument that makes no sense raises `UsageError`, whatever its type.
"""

from __future__ import annotations

from timeline.embedded.messaging.conversations import ConversationCalls
from timeline.embedded.messaging.users import UserCalls


class Messaging(ConversationCalls, UserCalls):
    """Conversations and users of one store."""


__all__ = ["Messaging"]
