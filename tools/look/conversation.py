"""`timeline conversation`: the settings of one conversation, its members, what is not counted."""

from __future__ import annotations

from pathlib import Path

import click

from timeline.formats.names import CONVERSATIONS

from ..cli.console import Output, when
from ..cli.names import Name, as_bytes, conversation_of
from ..cli.verb import verb
from ..sources.opening import source_of
from ..sources.wire import Wire
from .printing import as_text


@verb(
    "conversation",
    examples="""
timeline conversation data team
timeline conversation data team --members 100
timeline conversation --connect :7420 @direct:5:alice:bob --json""",
)
@click.argument("conversation", type=Name(CONVERSATIONS))
@click.option("--members", type=click.IntRange(0), default=20, help="Show this many members (20).")
def conversation_verb(
    *,
    directory: Path | None,
    daemon: Wire | None,
    output: Output,
    conversation: str,
    members: int,
) -> None:
    """Show a CONVERSATION: its settings, head, diffusion, recalls, metadata and members."""
    name = conversation_of(as_bytes(conversation))
    with source_of(directory, daemon) as source:
        facts = source.conversation(name)
        dying = as_text(facts["state"]) == "being deleted"  # its members cannot be asked for
        listed = source.members(name, members) if members and not dying else []
    if output.as_json:
        rows = [{"user": user, "role": role, "joined": at} for user, role, at in listed]
        output.document({**facts, "listed": rows})
        return
    stretches = ", ".join(f"{first:,}-{last or ''}" for first, last in facts["read_diffused"])
    output.values(
        {
            "conversation": facts["id"],
            "kind": facts["kind"],
            "history": facts["history"],
            "binary": bool(facts["binary"]),
            "state": facts["state"],
            "timeline": facts["timeline"],
            "created": when(facts["created"]),
            "members": facts["members"],
            "first": facts["first"],
            "head": facts["head"],
            "messages": facts["length"],
            "events": facts["events"],
            "diffusion": facts["diffusion"],
            "read-diffused": stretches or "never",
            "not counted": f"{facts['uncounted']:,}: {facts['recalled']:,} recalled, "
            f"{facts['silent']:,} silent",
        }
    )
    if facts["metadata"]:
        output.rows(("field", "value"), list(facts["metadata"].items()), title="\nMetadata")
    if listed:
        output.rows(
            ("member", "role", "joined"),
            [(user, role, when(at)) for user, role, at in listed],
            title="\nMembers",
        )
        left = facts["members"] - len(listed)
        if left > 0:
            output.note(f"{left:,} more: --members")
