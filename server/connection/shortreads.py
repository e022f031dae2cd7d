"""Short reads among the commands of a pipeline: `XRANGE key start end COUNT n`, of entries that lie
in memory, which is what clients ask for most.

Rule: each is answered with what the handler of its command would answer. Whatever is out of the
ordinary, in what is asked or where it lies, is left to the handler, errors too.
"""

from __future__ import annotations

from typing import Final

from timeline.engine.view import Applied
from timeline.formats.keys import MAX

from ..commands.arguments import range_end, range_start
from ..errors import CommandError
from ..wire.parser import Request
from ..wire.replies import array_header

_FORWARD: Final = frozenset((b"XRANGE", b"xrange"))
_BACK: Final = frozenset((b"XREVRANGE", b"xrevrange"))
READS: Final = _FORWARD | _BACK
_COUNT: Final = frozenset((b"COUNT", b"count"))
_COUNTS: Final = {b"%d" % count: count for count in range(1, 1000)}  # above, it is no short one


def short_reads(view: Applied, commands: list[Request], place: int, room: int) -> tuple[int, bytes]:
    """Answers the commands from `place` on, as long as they are short reads by one command. Returns
    how many those are, and their replies, not much more than `room` bytes.
    """
    verb = commands[place][0]
    reverse = verb in _BACK
    known, read = view.by_name, view.ranges.read_short
    pieces: list[bytes | memoryview] = []
    done = size = 0
    for at in range(place, len(commands)):
        command = commands[at]
        if len(command) != 6 or command[0] != verb or command[4] not in _COUNT:
            break
        _, name, low, high, _, count = command
        timeline = known.get(name)
        if timeline is None or timeline.row is None or name[:1] == b"@":
            break
        most = _COUNTS.get(count)
        if most is None:
            break
        if reverse:
            low, high = high, low
        try:
            first = 0 if low == b"-" else range_start(low)
            last = MAX if high == b"+" else range_end(high)
        except CommandError:
            break
        page = read(timeline, first, last, most, reverse=reverse)
        if page is None:
            break
        timeline.used = True
        done += 1
        pieces.append(array_header(page.count))
        pieces += page.chunks
        for chunk in page.chunks:
            size += len(chunk)
        if size > room:
            break
    return done, b"".join(pieces)
