"""The service: what the verbs of one store share. Options, idempotency keys, caches, waiters.

Rule: one per engine, whoever asks. The Python API and the daemon call the same verbs with the same
`Messages`. What it caches is checked at every use. So healing the store or replaying its log never
makes an answer wrong.
"""

from __future__ import annotations

from timeline.commit.draft import Draft
from timeline.devices.presence import Presence
from timeline.devices.waiting import Waiters
from timeline.engine.engine import Engine
from timeline.idempotency import Keys
from timeline.messaging.conversations import tombstones
from timeline.messaging.conversations.retention import tell_trimmed
from timeline.messaging.delivery.syncing import Reader
from timeline.messaging.delivery.watching import Watch
from timeline.messaging.lists.cache import ListCache
from timeline.messaging.searching import Request, search
from timeline.search.pages import Results
from timeline.search.storeindex import StoreIndex


class Messages:
    def __init__(self, engine: Engine, index: StoreIndex) -> None:
        self.engine = engine
        self.index = index
        self.options = engine.options
        self.keys = Keys(engine.options)
        self.lists = ListCache(engine, engine.options.list_cache_bytes)
        self.reader = Reader(engine, engine.options)
        self.watch = Watch(engine)
        self.presence = Presence()
        self.waiters = Waiters(engine, Watch(engine))  # of the Python API; the daemon has its own
        self.view = engine.view
        engine.chores.add(self._sweep)
        engine.observers.on_trim(tell_trimmed)

    def search(self, request: Request) -> Results:
        """A page of what a user searches for; call it without the engine's lock. Raises
        `IndexLagError` while there is no index.
        """
        fields = self.options.search_fields
        with self.index.searchable.trusting() as index:
            return search(self.engine, self.lists, index, fields, request)

    def stats(self) -> dict[str, int | str]:
        """What INFO shows; the caller holds the engine's lock."""
        return {
            **self.keys.stats(self.view),
            "watched_inboxes": len(self.watch),
            **self.index.stats(),
            "cached_lists": len(self.lists),
            "cached_lists_bytes": self.lists.size,
        }

    def _sweep(self, draft: Draft) -> bool:
        swept = self.keys.sweep(draft)
        return tombstones.sweep(draft, self.options.device_idle_ms) or swept
