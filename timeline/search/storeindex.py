"""The index of one store, which all share that search it: opened with the store, or off.

Rule: one per engine, whoever searches: messages, posts, raw timelines. Beside raw timelines that
the option `search_prefixes` names, conversations and feeds are indexed.
"""

from __future__ import annotations

from functools import partial

from timeline.engine.engine import Engine
from timeline.errors import UsageError
from timeline.formats.names import CONVERSATIONS, FEEDS
from timeline.search.generations import release_log
from timeline.search.indexer import Indexer
from timeline.search.indexview import IndexView
from timeline.search.serving import Serving


class StoreIndex:
    """`serving` is None where search is off."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.serving: Serving | None = None
        if engine.options.search:
            prefixes = tuple(prefix.encode() for prefix in engine.options.search_prefixes)
            opened = IndexView if engine.read_only else Indexer
            self.serving = opened(engine, engine.options, (CONVERSATIONS, FEEDS, *prefixes))
            engine.observers.before_closing(self.serving.stop)
        elif not engine.read_only:  # a reader leaves the owner's checkpoint alone
            engine.observers.before_closing(partial(release_log, engine, engine.applied))

    @property
    def searchable(self) -> Serving:
        """Raises `UsageError` when search is off."""
        if self.serving is None:
            raise UsageError("search is off: open the store with the option search")
        return self.serving

    def catch_up(self, seconds: float) -> Serving:
        """The index, once it has what was committed before. Raises `UsageError`, `IndexLagError`
        when that takes longer.
        """
        serving = self.searchable
        if seconds > 0:
            serving.wait(self._engine.applied, seconds)
        return serving

    def stats(self) -> dict[str, int | str]:
        """What INFO shows."""
        return {} if self.serving is None else self.serving.stats()
