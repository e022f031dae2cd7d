"""`timeline user`: the in-box and devices of a user, and why each conversation has its unread
count; or their feed and home, and why a post is in it or not.
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
from ..sources.source import Facts
from ..sources.wire import Wire
from .printing import as_text

_TERMS = (
    "head", "read", "cleared", "first", "above", "uncounted", "hidden", "unread", "mentions",
)  # fmt: skip


@verb(
    "user",
    examples="""
timeline user data bob
timeline user data bob --unread                 only conversations with unread messages
timeline user data bob --feeds                  what they are as an author and a reader
timeline user data bob --post ann/17            why that post is in their home, or not
timeline user --connect :7420 bob --json""",
)
@click.argument("user", type=Name(USERS))
@click.option("--unread", is_flag=True, help="Only conversations with something unread.")
@click.option("--feeds", is_flag=True, help="Their feed and their home, not their conversations.")
@click.option("--post", metavar="AUTHOR/NUMBER", help="Why this post is in their home, or not.")
def user_verb(
    *,
    directory: Path | None,
    daemon: Wire | None,
    output: Output,
    user: str,
    unread: bool,
    feeds: bool,
    post: str | None,
) -> None:
    """Show a USER: the in-box, the devices and how far each is behind, and the conversations.

    For each conversation: unread = above - uncounted - hidden. Messages count as above when the
    user may see them and their number is higher than `read` and `cleared`, and at least `first`
    (older ones were trimmed). Uncounted ones were recalled, or sent silently. Hidden ones the user
    hid.
    """
    name = as_bytes(user).removeprefix(USERS)
    with source_of(directory, daemon) as source:
        if feeds or post is not None:
            _show_feeds(output, source.feeds(name, None if post is None else post.encode()))
            return
        facts = source.user(name)
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


def _show_feeds(output: Output, facts: Facts) -> None:
    if output.as_json:
        output.document(facts)
        return
    feed, home, post = facts["feed"], facts["home"], facts["post"]
    values: dict[str, str | bool] = {"user": facts["id"]}
    if feed is not None:
        stretches = [
            f"{first:,} to {f'{last:,}' if last else 'now'}"
            for first, last in feed["read_diffused"]
        ]
        values |= {
            "feed": f"timeline {feed['timeline']}, since {when(feed['created'])}",
            "posts": f"{feed['posts']:,}, the last is number {feed['head']:,}",
            "followers": f"{feed['followers']:,}, and {feed['requests']:,} ask to follow",
            "protected": bool(feed["protected"]),
            "diffusion": as_text(feed["diffusion"])
            + f", delivered to {feed['delivered_to']:,} homes",
            "pulled posts": ", ".join(stretches) or "none",
        }
    if home is not None:
        values |= {
            "home": f"timeline {home['timeline']}, {home['references']:,} references above LSN "
            f"{home['floor']:,}, and {home['pulled']:,} parts of feeds",
            "follows": f"{home['following']:,} authors",
            "blocks": f"{home['blocked']:,} users",
        }
    if post is not None:
        shown = "in the home" if post["shown"] else "not in the home"
        values |= {"post": f"{as_text(post['post'])} is {shown}: {as_text(post['why'])}"}
    output.values(values)


def _counts(facts: dict[str, Any]) -> bool:
    """Whether the unread messages of a conversation are part of the user's total."""
    return bool(facts["listed"]) and not facts["muted"]


def _settings(facts: dict[str, Any]) -> str:
    words = [word for word in ("pinned", "muted") if facts[word]]
    return " ".join(words if facts["listed"] else [*words, "unlisted"])
