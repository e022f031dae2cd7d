"""The service: what the verbs of one store share. Options, idempotency keys, the cache of homes,
the index.

Rule: one per engine, whoever asks, as for messaging.
"""

from __future__ import annotations

from timeline.devices.presence import Presence
from timeline.devices.waiting import Waiters
from timeline.engine.engine import Engine
from timeline.feeds.cache import HomeCache
from timeline.feeds.watching import FeedWatch
from timeline.idempotency import Keys
from timeline.search.storeindex import StoreIndex


class Feeds:
    def __init__(self, engine: Engine, keys: Keys, presence: Presence, index: StoreIndex) -> None:
        self.engine = engine
        self.options = engine.options
        self.view = engine.view
        self.keys = keys
        self.presence = presence
        self.index = index
        self.homes = HomeCache(engine, engine.options.home_cache_bytes)
        self.watch = FeedWatch(engine)
        # Of the Python API; the daemon has its own.
        self.waiters = Waiters(engine, FeedWatch(engine))

    def stats(self) -> dict[str, int]:
        """What INFO shows; the caller holds the engine's lock."""
        return {"cached_homes": len(self.homes), "cached_homes_bytes": self.homes.size}
