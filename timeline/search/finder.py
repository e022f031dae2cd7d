"""Finding entries and timelines for callers who may see everything.

Rule: hits come newest first and are shown as they are now. An entry that is gone, or has no indexed
field any more, is left out. Messages and posts are found too: the caller decides who may ask.
"""

from __future__ import annotations

from collections.abc import Sequence

from timeline.engine.engine import Engine
from timeline.errors import NotFoundError, TooLargeError, UsageError, shown
from timeline.formats.entries import decode_items
from timeline.search.index.documents import TAGS
from timeline.search.pages import Pages, Results, Shown, parse_token
from timeline.search.search import Hit, Scope, Search, find_described
from timeline.search.serving import Serving
from timeline.search.text.language import ANY_FIELD, parse


def find_entries(
    engine: Engine,
    indexer: Serving,
    query: str,
    *,
    timelines: Sequence[bytes] | None = None,
    since: int | None = None,
    until: int | None = None,
    limit: int = 20,
    after: bytes | None = None,
) -> Results:
    """A page of entries: of all timelines that are indexed, or only of `timelines`.

    Raises `UsageError`, `TooLargeError`, `NotFoundError`, `IndexLagError`.
    """
    hit, total = parse_token(after)
    fields = engine.options.search_fields
    said = {TAGS, *(field.encode() for field in fields)}
    expression = parse(query, fields)
    scope = Scope(None if timelines is None else _ids(engine, timelines))

    def look(hits: Sequence[Hit]) -> list[Shown]:
        return [look_at(hit) for hit in hits]

    def look_at(hit: Hit) -> Shown:
        timeline = engine.view.load(hit.timeline)
        if timeline is None:
            return None
        rows = engine.view.ranges.stored(timeline, hit.seq, hit.seq, 1, reverse=False)
        if not rows or said.isdisjoint(decode_items(rows[0][3])[::2]):
            return None
        return rows[0][3], timeline.name

    with indexer.trusting() as index:
        found = Search(
            index, expression, fields, scope, engine.view.clock, since=since, until=until
        )
        pages = Pages(engine, found, look, expression, fields)
        return pages.fill(hit, limit, total, exactly=True)


def _ids(engine: Engine, names: Sequence[bytes]) -> list[int]:
    with engine.lock:
        engine.check_usable()
        found: list[int] = []
        for name in names:
            timeline = engine.view.find(name)
            if timeline is None:
                raise NotFoundError(f"there is no timeline {shown(name)}")
            found.append(timeline.id)
    return found


def find_timelines(
    engine: Engine, indexer: Serving, query: str, limit: int, *, most_bytes: int = 64 << 20
) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Names and metadata of the timelines that match a query, the oldest first.

    A word with a field matches a whole value (`city:oslo`); any other word matches a word of any
    value. Raises `UsageError`, `IndexLagError`, and `TooLargeError` above `most_bytes`.
    """
    if limit < 1:
        raise UsageError("COUNT is at least 1")
    expression = parse(query, ANY_FIELD)
    with indexer.trusting() as index:
        ids = find_described(index, expression, limit)
    found = []
    size = 0
    for timeline_id in ids:
        with engine.lock:
            engine.check_usable()
            timeline = engine.view.load(timeline_id)
            metadata = {} if timeline is None else engine.view.metadata(timeline)
        if timeline is None or not metadata:
            continue
        found.append((timeline.name, metadata))
        size += sum(map(len, metadata)) + sum(map(len, metadata.values()))
        if size > most_bytes:
            raise TooLargeError(
                f"this answer would exceed {most_bytes} bytes: ask for less by COUNT"
            )
    return found
