"""What the verbs of one store share: its options, its idempotency keys, caches, and who waits.

Rule: one per engine, whoever asks: the embedded API and the daemon call the same verbs with the
same `Messages`. Nothing in it is needed to answer; what it caches is checked at every use, so that
healing the store or replaying its log never makes it wrong.
"""

from __future__ import annotations

from timeline.draft import Draft
from timeline.engine import Engine
from timeline.messaging import tombstones
from timeline.messaging.idempotency import Keys
from timeline.messaging.lists import Lists
from timeline.messaging.presence import Presence
from timeline.messaging.syncing import Reader
from timeline.messaging.watching import Watch
from timeline.view import Applied


class Messages:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.options = engine.options
        self.keys = Keys(engine.options)
        self.lists = Lists(engine, engine.options.list_cache_bytes)
        self.reader = Reader(engine, engine.options)
        self.watch = Watch(engine)
        self.presence = Presence()
        self.view = Applied(engine)
        engine.add_chore(self._sweep)

    def stats(self) -> dict[str, int]:
        """What INFO shows; the caller holds the engine's lock."""
        return {
            **self.keys.stats(self.view),
            "watched_inboxes": len(self.watch),
            "cached_lists": len(self.lists),
            "cached_lists_bytes": self.lists.size,
        }

    def _sweep(self, draft: Draft) -> bool:
        swept = self.keys.sweep(draft)
        return tombstones.sweep(draft, self.options.device_idle_ms) or swept
