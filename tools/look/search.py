"""`timeline search`: what the index finds, among what one user may see, or in everything.

Rule: hits come newest first, as the engine finds them. Matches are bold on a terminal, and between
asterisks elsewhere.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

import click

from timeline.formats.names import CONVERSATIONS
from timeline.options import Options

from ..cli.amounts import MOMENT
from ..cli.console import Output, escaped
from ..cli.names import as_bytes
from ..cli.verb import verb
from ..sources.opening import source_of
from ..sources.source import Found, Query
from ..sources.wire import Wire

_MATCH = re.compile(r"<b>(.*?)</b>", re.DOTALL)


@verb(
    "search",
    examples="""
timeline search data 'nine OR "half past"'             everything that is indexed
timeline search data tomor* --user bob                 what bob may see
timeline search data minutes --conversation team       in one conversation
timeline search data 添加 --since 7d --limit 5 --json    the newest five of a week
timeline search data body:nine --config timelined.toml  as its daemon indexes it
timeline search --connect :7420 hello --wait 2         wait until the newest is indexed""",
    configured=True,
)
@click.argument("query")
@click.option("--user", help="Only what this user may see.")
@click.option("--conversation", help="Only in this conversation.")
@click.option("--sender", help="Only by this user (with --user).")
@click.option("--timeline", "timelines", multiple=True, help="Only in this timeline.")
@click.option("--since", type=MOMENT, help="Committed then or later.")
@click.option("--until", type=MOMENT, help="Committed then or before.")
@click.option("--limit", type=click.IntRange(1), default=20, help="At most this many (20).")
@click.option("--after", default="", metavar="CURSOR", help="Go on after this cursor.")
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=0.0,
    help="Wait this many seconds for the index to catch up.",
)
def search(
    *,
    directory: Path | None,
    daemon: Wire | None,
    options: Options,
    output: Output,
    query: str,
    user: str | None,
    conversation: str | None,
    sender: str | None,
    timelines: tuple[str, ...],
    since: int | None,
    until: int | None,
    limit: int,
    after: str,
    wait: float,
) -> None:
    """Search for QUERY: words, "phrases", begin*, AND OR NOT, field:word. The newest come first.

    Texts and titles of messages and posts are indexed, and what the daemon's configuration adds.
    """
    if sender is not None and user is None:
        raise click.UsageError("--sender goes with --user")
    if timelines and user is not None:
        raise click.UsageError("--user searches conversations: leave --timeline out")
    names = tuple(as_bytes(each) for each in timelines)
    if conversation is not None and user is None:
        names += (CONVERSATIONS + as_bytes(conversation),)
    asked = Query(
        query,
        user=None if user is None else as_bytes(user),
        conversation=None if conversation is None or user is None else as_bytes(conversation),
        sender=None if sender is None else as_bytes(sender),
        timelines=names,
        since=since,
        until=until,
        limit=limit,
        after=after,
        wait=wait,
    )
    with source_of(directory, daemon, options) as source:
        page = source.search(asked)
    if output.as_json:
        output.document(
            {
                "total": page.total,
                "exact": page.exact,
                "hits": [
                    {
                        "where": hit.where,
                        "id": hit.id,
                        "fields": [list(pair) for pair in hit.fields],
                        "snippet": hit.snippet,
                    }
                    for hit in page.hits
                ],
                "cursor": page.cursor,
            }
        )
        return
    for hit in page.hits:
        output.line(_shown(output, hit))
    total = f"{page.total:,}" if page.exact else f"at least {page.total:,}"
    more = f"; go on with --after {page.cursor}" if page.cursor else ""
    output.note(f"{total} found{more}")


def _shown(output: Output, hit: Found) -> str:
    mark = (lambda text: click.style(text, bold=True)) if output.terminal else "*{}*".format
    snippet = _MATCH.sub(lambda found: mark(found[1]), " ".join(hit.snippet.split()))
    sender = next((escaped(value) + ": " for name, value in hit.fields if name == b"@from"), "")
    where = click.style(f"{escaped(hit.where)} {hit.id}", fg="cyan")
    return f"{where}  {sender}{html.unescape(snippet)}"
