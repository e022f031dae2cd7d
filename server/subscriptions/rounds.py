"""Messages that wait to be given to many subscribers, each encoded once.

Rule: messages to the same in-boxes wait together in a round, and are given together. Once giving
has begun, a message goes into another round. Rounds are bounded in number and bytes. A message
beyond that is refused, and its subscribers read it from the store.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from timeline.fanout import Position

from .subscriber import Subscriber

_ROUNDS: Final = 256  # that wait
_ROUNDS_BYTES: Final = 8 << 20  # of messages that wait
_ROUND_BYTES: Final = 64 << 10  # of messages in one round


class Round:
    """Messages, one after the other, to the same in-boxes; `to` are the subscribers to be served.

    `suffixes` are the frames without what they begin with, `positions` those after them.
    """

    __slots__ = ("begun", "inboxes", "positions", "size", "suffixes", "to")

    def __init__(self, inboxes: Sequence[int], to: Iterator[Subscriber]) -> None:
        self.inboxes = inboxes
        self.to = to
        self.suffixes: list[bytes] = []
        self.positions: list[Position] = []
        self.size = 0
        self.begun = False

    def add(self, suffix: bytes, position: Position) -> None:
        self.suffixes.append(suffix)
        self.positions.append(position)
        self.size += len(suffix)

    def after(self, position: Position) -> list[bytes]:
        """The suffixes for a subscriber that has been told everything up to `position`, as `join`
        takes them.
        """
        return [b"", *self.suffixes[bisect_right(self.positions, position) :]]

    def takes(self, inboxes: Sequence[int], size: int) -> bool:
        """Whether a message to `inboxes` may be given together with these."""
        return (
            not self.begun
            and self.size + size <= _ROUND_BYTES
            and (self.inboxes is inboxes or self.inboxes == inboxes)
        )


class Rounds:
    """The rounds of one daemon, the oldest first."""

    def __init__(self, subscribers: Callable[[Sequence[int]], Iterator[Subscriber]]) -> None:
        """`subscribers` gives those of in-boxes, as they are when it comes to them."""
        self._subscribers = subscribers
        self._rounds: deque[Round] = deque()
        self.size = 0  # bytes of messages that wait

    def __len__(self) -> int:
        return len(self._rounds)

    @property
    def first(self) -> Round:
        return self._rounds[0]

    def add(self, inboxes: Sequence[int], suffix: bytes, position: Position) -> bool:
        """Lets a message wait; False when too much waits already."""
        size = len(suffix)
        if self.size + size > _ROUNDS_BYTES:
            return False
        if not self._rounds or not self._rounds[-1].takes(inboxes, size):
            if len(self._rounds) == _ROUNDS:
                return False
            self._rounds.append(Round(inboxes, self._subscribers(inboxes)))
        self._rounds[-1].add(suffix, position)
        self.size += size
        return True

    def drop_first(self) -> None:
        """The first round was given to all."""
        self.size -= self._rounds.popleft().size
