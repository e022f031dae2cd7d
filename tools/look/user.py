"""`timeline user`: the in-box and devices of a user, and why each conversation has its unread
count.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from timeline.formats.names import USERS

from ..cli.console import Output, when
from ..cli.names import Name, as_bytes
from ..cli.verb import verb
from ..sources.opening import source_of
from ..sources.wire import Wire

_TERMS = (
    "head", "read", "cleared", "first", "above", "uncounted", "hidden", "unread", "mentions",
)  # fmt: skip


@verb(
    "user",
    examples="""
timeline user data bob
timeline user data bob --unread                 only conversations with unread messages
timeline user --connect :7420 bob --json""",
)
@click.argument("user", type=Name(USERS))
@click.option("--unread", is_flag=True, help="Only conversations with something unread.")
def user_verb(
    *, directory: Path | None, daemon: Wire | None, output: Output, user: str, unread: bool
) -> None:
    """Show a USER: the in-box, the devices and how far each is behind, and the conversations.

    For each conversation: unread = above - uncounted - hidden. Messages count as above when the
    user may see them and their number is higher than `read` and `cleared`, and at least `first`
    (older ones were trimmed). Uncounted ones were recalled, or sent silently. Hidden ones the user
    hid.
    """
    with source_of(directory, daemon) as source:
        facts = source.user(as_bytes(user).removeprefix(USERS))
    rows = [each for each in facts["conversations"] if each["unread"] or not unread]
    if output.as_json:
        output.document({**facts, "conversations": rows})
        return
    output.values(
        {
            "user": facts["id"],
            "timeline": facts["timeline"],
            "created": when(facts["created"]),
            "in-box": f"{facts['length']:,} references, LSN {facts['first']:,} to "
            f"{facts['head']:,}, floor {facts['floor']:,}",
            "read-diffused": f"{facts['read_diffused']:,} conversations",
            "unread": sum(each["unread"] for each in facts["conversations"] if _counts(each)),
        }
    )
    if facts["metadata"]:
        output.rows(("field", "value"), list(facts["metadata"].items()), title="\nMetadata")
    if facts["devices"]:
        output.rows(
            ("device", "acknowledged", "entries behind", "commits behind", "online", "seen"),
            [
                (
                    each["device"],
                    each["acked"] or "nothing",
                    each["behind"],
                    each["commits"],
                    bool(each["online"]),
                    when(each["seen"]),
                )
                for each in facts["devices"]
            ],
            title="\nDevices",
        )
    if rows:
        output.rows(
            ("conversation", "role", *_TERMS, "settings"),
            [
                (
                    each["id"],
                    each["role"],
                    *(each[term] for term in _TERMS),
                    _settings(each),
                )
                for each in rows
            ],
            title="\nConversations: unread = above - uncounted - hidden",
        )


def _counts(facts: dict[str, Any]) -> bool:
    """Whether the unread messages of a conversation are part of the user's total."""
    return bool(facts["listed"]) and not facts["muted"]


def _settings(facts: dict[str, Any]) -> str:
    words = [word for word in ("pinned", "muted") if facts[word]]
    return " ".join(words if facts["listed"] else [*words, "unlisted"])
