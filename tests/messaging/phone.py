"""What a device shows that does with updates as docs/commands.md says."""

from __future__ import annotations

from collections.abc import Callable

from timeline.entry import Entry, Fields
from timeline.messaging.pages import SyncEntry


class Phone:
    """What a device shows: entries applied by conversation and id, the latest wins."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, int], Fields] = {}

    def roam(self, name: str, history: list[Entry]) -> None:
        for entry in history:
            self.held[name, entry.seq] = entry.fields

    def apply(self, told: SyncEntry) -> None:
        name, seq = told.conversation, told.seq
        if told.kind in ("message", "edit", "recall"):
            self.held[name, seq] = told.fields
        elif told.kind == "hide":
            self.held.pop((name, seq), None)
        elif told.kind == "clear":
            self.drop(lambda of, number: of == name and number <= seq)
        elif told.kind == "delete":
            self.drop(lambda of, _: of == name)

    def drop(self, gone: Callable[[str, int], bool]) -> None:
        self.held = {key: value for key, value in self.held.items() if not gone(*key)}
