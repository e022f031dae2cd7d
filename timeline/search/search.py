"""Searching: an expression and its bounds → hits, the newest first.

Rule: a hit is a timeline and a sequence number. Its place in the order never changes, so a page
goes on after the last hit of the page before, whatever was indexed meanwhile. A search runs on one
snapshot of the index, without the engine's lock. The caller looks up what a hit says now and who
may see it.

A query that costs too much is refused, and that is no fault of the index. To tell the two apart,
every call into tantivy is made within `asking`, also the one that makes a query.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from tantivy import FieldType, Occur, Order, Query, Searcher

from timeline.lsm.clock import Clock
from timeline.search.index.index import Index, IndexDamageError, asking
from timeline.search.index.schema import pair_of, rank_of
from timeline.search.text.language import All, Any, Expression, Not, Words

_MOST_U64: Final = 2**64 - 1
_NAMED_TIMELINES: Final = 256  # above which it costs milliseconds to name them in a query
_FILTERED_HITS: Final = 4_096  # up to which it costs less to filter hits here


class Hit(NamedTuple):
    """A found entry. Hits come in descending order of these tuples."""

    rank: int
    timeline: int
    seq: int


class Stretch(NamedTuple):
    """Numbers `first` to `last` of a timeline, inclusive."""

    timeline: int
    first: int
    last: int


class Scope(NamedTuple):
    """Where to look: all of `timelines` (None: all that are indexed), and these `stretches`; of
    these only what is of `kind` (None: of any).
    """

    timelines: Sequence[int] | None = None
    stretches: Sequence[Stretch] = ()
    kind: str | None = None


class Search:
    """One search over one snapshot of `index`."""

    def __init__(
        self,
        index: Index,
        expression: Expression,
        fields: Sequence[str],
        scope: Scope,
        clock: Clock,
        *,
        sender: str | None = None,
        tag: str | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> None:
        self._index = index
        self._searcher: Searcher = index.searcher
        self._fields = fields
        self._clock = clock
        # Where the query does not name the timelines, `_admits` filters the hits by these.
        self._filter: Scope | None = None
        self._filter_timelines: frozenset[int] = frozenset()
        self._number: int | None = None
        with asking(index.path):
            must = [self._compile(expression)]
            for name, wanted in (("from", sender), ("tag", tag), ("kind", scope.kind)):
                if wanted is not None:
                    must.append(Query.term_query(index.schema, name, wanted))
            if since is not None or until is not None:
                must.append(self._between(since, until))
            if self._is_said(scope, must):
                must.append(self._in(scope))
            else:
                self._filter, self._filter_timelines = scope, frozenset(scope.timelines or ())
                must.append(Query.exists_query("timeline"))  # metadata is no entry
            self._query = _all_of(must)

    def _is_said(self, scope: Scope, must: Sequence[Query]) -> bool:
        """Whether the query itself names the timelines. Where there are many timelines but few
        hits, it costs less to filter the hits afterwards.
        """
        if scope.timelines is None or len(scope.timelines) <= _NAMED_TIMELINES:
            return True
        return _count(self._searcher, _all_of(must)) > _FILTERED_HITS

    def hits(self, after: Hit | None, limit: int) -> list[Hit]:
        """At most `limit` hits after the hit `after`; fewer only at the end."""
        query = self._query
        most = limit + 1  # those of the last rank wait
        if after is not None:
            query = _all_of([query, self._range("rank", 0, after.rank)])
            most += 1  # the hit before, mostly the only one of its rank
        if self._filter is not None:
            most = _FILTERED_HITS + 1
        while True:
            found, number = self._collect(query, most)
            if after is None:
                self._number = number
            whole = len(found) < most
            if not whole:
                # Some hits of the last rank may be missing here: all of that rank wait.
                last = found[-1].rank
                found = [hit for hit in found if hit.rank != last]
            found = sorted(
                [hit for hit in found if (after is None or hit < after) and self._admits(hit)],
                reverse=True,
            )
            if whole or len(found) >= limit:
                return found[:limit]
            most *= 2

    def _admits(self, hit: Hit) -> bool:
        if self._filter is None or hit.timeline in self._filter_timelines:
            return True
        return any(
            timeline == hit.timeline and first <= hit.seq <= last
            for timeline, first, last in self._filter.stretches
        )

    def count(self) -> int:
        """How many hits there are in all."""
        if self._filter is not None:
            return len(self.hits(None, _FILTERED_HITS))
        if self._number is None:
            with asking(self._index.path):
                self._number = _count(self._searcher, self._query)
        return self._number

    def _collect(self, query: Query, limit: int) -> tuple[list[Hit], int]:
        """At most `limit` hits in order of rank, and how many there are in all."""
        searcher = self._searcher
        with asking(self._index.path):
            result = searcher.search(query, limit=limit, count=True, order_by_field="rank")
            addresses = [address for _, address in result.hits]
            timelines = searcher.fast_field_values("timeline", addresses)
            seqs = searcher.fast_field_values("seq", addresses)
        hits = []
        for (rank, _), timeline, seq in zip(result.hits, timelines, seqs, strict=True):
            if rank is None or timeline is None or seq is None:
                raise IndexDamageError(
                    f"the index in {self._index.path}: it has an entry without a place"
                )
            hits.append(Hit(int(rank), int(timeline), int(seq)))
        return hits, int(result.count)  # type: ignore[attr-defined]  # missing in its stub

    # --- queries ------------------------------------------------------------------------------

    def _in(self, scope: Scope) -> Query:
        if scope.timelines is None:
            return Query.exists_query("timeline")
        schema = self._index.schema
        parts = [Query.term_set_query(schema, "timeline", list(scope.timelines))]
        for timeline, first, last in scope.stretches:
            one = Query.term_query(schema, "timeline", timeline)
            numbers = self._range("seq", first, last)
            parts.append(Query.boolean_query([(Occur.Must, one), (Occur.Must, numbers)]))
        return Query.boolean_query([(Occur.Should, part) for part in parts])

    def _range(self, field: str, low: int, high: int) -> Query:
        return Query.range_query(self._index.schema, field, FieldType.Unsigned, low, high)

    def _between(self, since: int | None, until: int | None) -> Query:
        """Entries committed from `since` to `until`. Where the clock was set back, the order of
        commits decides (see `timeline.lsm.clock`).
        """
        low, high = max(0, since or 0), min(_MOST_U64, _MOST_U64 if until is None else until)
        if low > high:
            return Query.empty_query()
        clock = self._clock
        first, below = clock.not_before(low), clock.all_until(high)
        if not below:
            between = self._range("time", low, high)
        else:
            earlier = self._range("rank", 0, rank_of(below, 0) - 1)
            between = Query.boolean_query(
                [(Occur.Should, self._range("time", 0, high)), (Occur.Should, earlier)]
            )
            between = _all_of([between, self._range("time", low, _MOST_U64)])
        if first:
            between = _all_of([between, self._range("rank", rank_of(first, 0), _MOST_U64)])
        return between

    def _compile(self, expression: Expression) -> Query:
        if isinstance(expression, Words):
            return self._words(expression)
        if isinstance(expression, Not):
            return _without(self._compile(expression.part))
        if isinstance(expression, Any):
            return Query.boolean_query(
                [(Occur.Should, self._compile(part)) for part in expression.parts]
            )
        return self._all(expression)

    def _all(self, expression: All) -> Query:
        clauses = []
        for part in expression.parts:
            if isinstance(part, Not):
                clauses.append((Occur.MustNot, self._compile(part.part)))
            else:
                clauses.append((Occur.Must, self._compile(part)))
        if all(occur == Occur.MustNot for occur, _ in clauses):
            clauses.append((Occur.Must, Query.all_query()))
        return Query.boolean_query(clauses)

    def _words(self, wanted: Words) -> Query:
        names = [
            f"f{number}"
            for number, field in enumerate(self._fields)
            if wanted.field in (None, field)
        ]
        parts = [words_query(self._index, name, wanted) for name in names]
        return Query.boolean_query([(Occur.Should, part) for part in parts])


def _all_of(queries: Sequence[Query]) -> Query:
    return Query.boolean_query([(Occur.Must, query) for query in queries])


def _count(searcher: Searcher, query: Query) -> int:
    result = searcher.search(query, limit=1, count=True)
    return int(result.count)  # type: ignore[attr-defined]  # missing in its stub


def words_query(index: Index, field: str, wanted: Words) -> Query:
    """A query for words in one field of the index."""
    schema = index.schema
    tokens: list[str | tuple[int, str]] = list(wanted.tokens)
    if not wanted.prefix:
        if len(tokens) == 1:
            return Query.term_query(schema, field, wanted.tokens[0])
        return Query.phrase_query(schema, field, tokens)
    *before, last = map(re.escape, wanted.tokens)
    if not before:
        return Query.regex_query(schema, field, last + ".*")
    return Query.regex_phrase_query(schema, field, [*before, last + ".*"])


def _without(query: Query) -> Query:
    return Query.boolean_query([(Occur.Must, Query.all_query()), (Occur.MustNot, query)])


def find_described(index: Index, expression: Expression, limit: int) -> list[int]:
    """The timelines whose metadata match an expression, at most `limit`, the lowest ids first.

    A word with a field matches a whole value (`city:oslo`), or the beginning of one (`city:os*`).
    """
    searcher = index.searcher

    def compile_(part: Expression) -> Query:
        if isinstance(part, Not):
            return _without(compile_(part.part))
        if isinstance(part, (All, Any)):
            occur = Occur.Must if isinstance(part, All) else Occur.Should
            return Query.boolean_query([(occur, compile_(each)) for each in part.parts])
        if part.field is None:
            return words_query(index, "meta", part)
        pair = pair_of(part.field, part.tokens)
        if part.prefix:
            return Query.regex_query(index.schema, "pair", re.escape(pair) + ".*")
        return Query.term_query(index.schema, "pair", pair)

    most = min(limit, searcher.num_docs)  # tantivy makes room for so many beforehand
    if most < 1:
        return []
    with asking(index.path):
        query = _all_of([compile_(expression), Query.exists_query("about")])
        result = searcher.search(
            query, limit=most, count=False, order_by_field="about", order=Order.Asc
        )
        found = searcher.fast_field_values("about", [address for _, address in result.hits])
    return [int(each) for each in found if each is not None]
