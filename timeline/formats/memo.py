"""Decoded rows by their stored form, so that those in use are not decoded again and again.

Rule: a row is kept when it is encoded too, since what was just written is mostly read next. Rows
cannot be changed, so whoever gets one may keep it. No more than so many are held: when half of them
are new, those of the other half that nobody asked for meanwhile go.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Row = TypeVar("Row")


class Memo(Generic[Row]):
    def __init__(self, limit: int, longest: int) -> None:
        """It holds at most `limit` rows, of at most `longest` bytes in stored form."""
        self._half = limit // 2
        self._longest = longest
        self._new: dict[bytes, Row] = {}
        self._old: dict[bytes, Row] = {}

    def get(self, value: bytes) -> Row | None:
        """The row that is stored as `value`, if it is known."""
        found = self._new.get(value)
        if found is None:
            found = self._old.get(value)
            if found is not None:
                self.keep(value, found)
        return found

    def keep(self, value: bytes, row: Row) -> None:
        if len(value) > self._longest:
            return
        if len(self._new) >= self._half:
            self._old, self._new = self._new, {}
        self._new[value] = row
