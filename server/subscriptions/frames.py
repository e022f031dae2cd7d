"""Entries as subscribers are sent them, encoded once for all that are told at about the same time.

Rule: a frame here lacks its beginning, which differs between subscribers. What is kept is bounded
in bytes.
"""

from __future__ import annotations

from typing import Final

from timeline.devices.cursors import Cursors
from timeline.devices.updates import Update

from ..wire import replies
from ..wire.entries import encode_update

_FRAMES_BYTES: Final = 16 << 20  # of frames kept for the subscribers to come


class Frames:
    def __init__(self, cursors: Cursors) -> None:
        self._cursors = cursors
        self._kept: dict[Update, bytes] = {}
        self._bytes = 0

    def encode(self, update: Update) -> bytes:
        """A frame that is not kept."""
        return replies.bulk(self._cursors.encode(update.position)) + encode_update(update)

    def get(self, update: Update) -> bytes:
        """A frame, mostly the same object for all that ask at about the same time."""
        frame = self._kept.get(update)
        if frame is None:
            frame = self.encode(update)
            self._bytes += len(frame) + len(update.payload)
            if self._bytes > _FRAMES_BYTES:
                self._kept.clear()
                self._bytes = len(frame) + len(update.payload)
            self._kept[update] = frame
        return frame
