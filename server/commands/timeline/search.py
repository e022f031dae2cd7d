"""USER.SEARCH, FEED.SEARCH, TIMELINE.SEARCH and TIMELINE.FIND: what the index finds.

Rule: the index is searched on another thread, so that nobody else waits for it. With WAIT the
command first waits, without a thread, until the index has reached what was committed before it.
Searching is not part of a commit, since the index knows durable commits only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from timeline.engine.view import View
from timeline.errors import UsageError
from timeline.feeds import searching as posts
from timeline.messaging import searching as messages
from timeline.search.finder import find_entries, find_timelines
from timeline.search.pages import Results

from ...registry.command import Arguments
from ...service.session import Session
from ...wire import replies
from ...wire.entries import encode_fields, encode_map, encode_stored
from .. import arguments
from ..arguments import syntax_error
from ..declaring import plain, read
from ..options import Options, page_size


class _Asked:
    """What a search may say after the query: `words` are the options that the command takes,
    `flags` those of them that have no value.
    """

    def __init__(
        self,
        session: Session,
        args: Arguments,
        at: int,
        words: frozenset[bytes],
        flags: frozenset[bytes] = frozenset(),
    ) -> None:
        self.query = _text(args[at])
        self.given: dict[bytes, bytes] = {}
        self.keys: list[bytes] = []
        options = Options(args, at + 1)
        while (word := options.word()) is not None:
            if word not in words:
                raise options.unknown()
            if word in flags:
                self.given[word] = b""
                continue
            value = self.given[word] = options.value()
            if word == b"KEY":
                self.keys.append(value)
        if options.at != len(args):
            raise syntax_error()
        self.limit = page_size(session, self.given.get(b"COUNT"))
        self.since = self._moment(b"SINCE")
        self.until = self._moment(b"UNTIL")
        self.wait = arguments.milliseconds(self.given.get(b"WAIT", b"0"))

    def _moment(self, word: bytes) -> int | None:
        return arguments.moment(self.given[word]) if word in self.given else None


_FINDING: Final = frozenset((b"COUNT", b"WAIT"))
_SEARCHING: Final = _FINDING | {b"SINCE", b"UNTIL", b"AFTER"}


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise UsageError("a query is UTF-8") from None


def _answer(session: Session, wait: int, work: Callable[[], bytes]) -> None:
    if session.executing:
        raise UsageError("searching is not part of a commit: call it outside MULTI")
    indexer = session.service.index.searchable
    service = session.service
    if wait and indexer.reached < service.engine.applied:
        most = service.configuration.settings.sync_block_ms
        seconds = min(wait, most) / 1000
        service.threads.detach_when_indexed(
            session.client, indexer, service.engine.applied, seconds, work
        )
    else:
        service.threads.detach_search(session.client, work)


def _results(results: Results, resp: int) -> bytes:
    hits = [
        b"*4\r\n" + replies.bulk(name) + encode_stored(payload) + replies.bulk(marked.encode())
        for name, payload, marked in results.hits
    ]
    return encode_map(
        [
            (b"total", replies.integer(results.total)),
            (b"exact", replies.integer(int(results.exact))),
            (b"hits", replies.array(hits)),
            (b"cursor", replies.bulk(results.cursor)),
        ],
        resp,
    )


@read(
    "USER.SEARCH",
    "user query [CONV conversation] [SENDER user] [SINCE milliseconds] [UNTIL milliseconds] "
    "[COUNT count] [AFTER token] [WAIT milliseconds]",
    'Messages that a user may see, the newest first: words, "phrases", begin*, AND OR '
    "NOT, field:word. With WAIT the index first reaches what was committed before.",
    group="user",
    complexity="O(log(N)+M) for N messages and M that are found",
)
def search(session: Session, args: Arguments, _: View) -> None:
    asked = _Asked(session, args, 2, _SEARCHING | {b"CONV", b"SENDER"})
    request = messages.Request(
        args[1],
        asked.query,
        conversation=asked.given.get(b"CONV"),
        sender=asked.given.get(b"SENDER"),
        since=asked.since,
        until=asked.until,
        limit=asked.limit,
        after=asked.given.get(b"AFTER"),
    )
    service, resp = session.service.messages, session.resp
    _answer(session, asked.wait, lambda: _results(service.search(request), resp))


@read(
    "FEED.SEARCH",
    "viewer query [AUTHOR author] [TAG tag] [HOME] [SINCE milliseconds] [UNTIL milliseconds] "
    "[COUNT count] [AFTER token] [WAIT milliseconds]",
    "Posts that a viewer may see, the newest first: of one author, of the viewer's home, or of "
    "anybody. The query is as in USER.SEARCH; with TAG it may be empty.",
    group="feed",
    complexity="O(log(N)+M) for N posts and M that are found",
)
def search_posts(session: Session, args: Arguments, _: View) -> None:
    words = _SEARCHING | {b"AUTHOR", b"TAG", b"HOME"}
    asked = _Asked(session, args, 2, words, frozenset((b"HOME",)))
    request = posts.Request(
        args[1],
        asked.query,
        author=asked.given.get(b"AUTHOR"),
        tag=asked.given.get(b"TAG"),
        home=b"HOME" in asked.given,
        since=asked.since,
        until=asked.until,
        limit=asked.limit,
        after=asked.given.get(b"AFTER"),
    )
    feeds, resp = session.service.feeds, session.resp
    _answer(session, asked.wait, lambda: _results(posts.search(feeds, request), resp))


@read(
    "TIMELINE.SEARCH",
    "query [KEY key] [SINCE milliseconds] [UNTIL milliseconds] [COUNT count] [AFTER token] "
    "[WAIT milliseconds]",
    "Entries that are indexed, of conversations, feeds and raw timelines, the newest first. It "
    "does not ask who may see them.",
    group="timeline",
    complexity="O(log(N)+M) for N entries and M that are found",
)
def search_timelines(session: Session, args: Arguments, _: View) -> None:
    asked = _Asked(session, args, 1, _SEARCHING | {b"KEY"})
    engine, resp = session.service.engine, session.resp
    indexer = session.service.index.searchable

    def work() -> bytes:
        found = find_entries(
            engine,
            indexer,
            asked.query,
            timelines=asked.keys or None,
            since=asked.since,
            until=asked.until,
            limit=asked.limit,
            after=asked.given.get(b"AFTER"),
        )
        return _results(found, resp)

    _answer(session, asked.wait, work)


@plain(
    "TIMELINE.REINDEX",
    "",
    "Builds the search index again in the background. The old one serves until then. INFO "
    "timeline shows how far it is (index_building, index_build_documents).",
    group="timeline",
    flags="fast",
)
def reindex(session: Session, _: Arguments) -> bytes:
    session.service.index.searchable.rebuild()
    return replies.OK


@read(
    "TIMELINE.FIND",
    "query [COUNT count] [WAIT milliseconds]",
    "Timelines by their metadata: words of any value, or field:value for a whole value.",
    group="timeline",
    complexity="O(log(N)+M) for N timelines and M that are found",
)
def find(session: Session, args: Arguments, _: View) -> None:
    asked = _Asked(session, args, 1, _FINDING)
    engine, resp = session.service.engine, session.resp
    most = session.service.configuration.settings.reply_bytes
    indexer = session.service.index.searchable

    def work() -> bytes:
        found = find_timelines(engine, indexer, asked.query, asked.limit, most_bytes=most)
        maps = [
            encode_map(
                [(b"name", replies.bulk(name)), (b"metadata", encode_fields(metadata, resp))], resp
            )
            for name, metadata in found
        ]
        return replies.array(maps)

    _answer(session, asked.wait, work)
