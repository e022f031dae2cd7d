"""Cursors: what a device gives back to say how far it has come.

Rule: a cursor `<epoch>-<lsn>-<n>` is a position in the commit log, the same for everybody: all of
commit `lsn` and the first `n` entries of the next. It is neither a secret nor a permission: what a
caller may see is decided at every call.

The low 32 bits of `epoch` are the epoch of the store. The bits above hold the tag of the opening
that made the commit. So a cursor of commits that the store has lost is refused, also when their
numbers were given out again.
"""

from __future__ import annotations

import re
from typing import Final

from timeline.engine.view import Applied
from timeline.errors import UsageError
from timeline.fanout import Position
from timeline.formats.numbers import Lsn
from timeline.lsm.openings import Openings

_CURSOR: Final = re.compile(rb"([0-9]{1,20})-([0-9]{1,20})-([0-9]{1,10})")
_EPOCH_BITS: Final = 32
_MOST_ORDINAL: Final = 2**32 - 1  # no commit holds as many, and no row


class Cursors:
    """Cursors of one epoch of a store."""

    def __init__(self, epoch: int, openings: Openings) -> None:
        self.epoch = epoch
        self._openings = openings

    def encode(self, position: Position) -> bytes:
        tag = self._openings.tag_of(position.lsn + (position.ordinal > 0))
        return b"%d-%d-%d" % (tag << _EPOCH_BITS | self.epoch, *position)

    def decode(self, cursor: bytes, applied: int) -> Position | None:
        """The position of a cursor. None when it is of another epoch, of commits that the store has
        lost, or not given out yet. Raises `UsageError` for what is no cursor.
        """
        match = _CURSOR.fullmatch(cursor)
        if match is None:
            raise UsageError("a cursor is `<epoch>-<lsn>-<n>`, as USER.SYNC or FEED.SYNC gives it")
        field, lsn, ordinal = map(int, match.groups())
        tag, epoch = divmod(field, 1 << _EPOCH_BITS)
        if epoch != self.epoch or lsn > applied or (ordinal and lsn >= applied):
            return None
        if ordinal > _MOST_ORDINAL or not self._openings.made(lsn + (ordinal > 0), tag):
            return None
        return Position(Lsn(lsn), ordinal)


def cursors_of(view: Applied) -> Cursors:
    """Those of the store that a view shows."""
    return Cursors(view.epoch, view.openings)
