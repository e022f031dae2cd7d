"""Deliveries of one commit that is not staged yet, and which members each of them leaves out.

Rule: a delivery reaches those who are members at that moment. The rows of membership say only in
which commit somebody joined or left. So a delivery names the in-boxes that left before it, or
joined after it, in the same commit. Mostly there are none.

    leave bob, deliver 1, join zoe        delivery 1 leaves out bob and zoe
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from timeline.errors import TooLargeError


class Deliveries:
    """Deliveries are known by their place among the operations of the commit."""

    __slots__ = ("_left", "_left_out", "_most", "_named", "_places")

    def __init__(self, most: int) -> None:
        """They name at most `most` in-boxes, else `TooLargeError`."""
        self._most = most
        self._named = 0
        self._places: dict[int, list[int]] = {}  # by audience
        self._left: dict[int, set[int]] = {}  # audience → in-boxes that left in this commit
        self._left_out: dict[int, array[int]] = {}  # place → in-boxes

    def add(self, audience: int, place: int) -> None:
        self._places.setdefault(audience, []).append(place)
        left = self._left.get(audience)
        if left:
            self._leave_out(place, sorted(left))

    def leave(self, audience: int, inbox: int) -> None:
        """A member left."""
        self._left.setdefault(audience, set()).add(inbox)

    def come_back(self, audience: int, inbox: int) -> None:
        """Who left in this commit is a member again."""
        self._left[audience].discard(inbox)

    def join(self, audience: int, inboxes: Sequence[int]) -> None:
        """Some joined who were no members before."""
        for place in self._places.get(audience, ()):
            self._leave_out(place, inboxes)

    def _leave_out(self, place: int, inboxes: Sequence[int]) -> None:
        self._named += len(inboxes)
        if self._named > self._most:
            raise TooLargeError("too many join and leave in one commit: take several")
        self._left_out.setdefault(place, array("Q")).extend(inboxes)

    def left_out(self) -> Iterator[tuple[int, bytes]]:
        """The places of those that leave somebody out, and whom, as ids u64."""
        for place, inboxes in self._left_out.items():
            yield place, inboxes.tobytes()
