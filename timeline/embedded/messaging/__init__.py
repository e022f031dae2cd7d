"""The embedded API of conversations and users: `db.messaging`.

Rule: the verbs of the wire, typed, from any thread, and their arguments in the order of the wire:
the conversation, who acts (`-`, the application itself, when he is left out), then what he does it
with. A call that writes returns when its commit is durable; what would be several commits over the
wire is several here. Ids and field values may be `str` or `bytes`; ids come back as `str`, values
as `bytes`. What cannot be an argument is a `UsageError`, of whatever type it is.
"""

from __future__ import annotations

from timeline.embedded.messaging.conversations import ConversationCalls
from timeline.embedded.messaging.users import UserCalls


class Messaging(ConversationCalls, UserCalls):
    """Conversations and users of one store."""


__all__ = ["Messaging"]
