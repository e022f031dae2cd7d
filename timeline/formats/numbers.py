"""The numbers that mean different things and are all whole: none can be passed for another.

Rule: the types are there for mypy. What mixes such numbers asks for them: references, records,
in-boxes, positions. What decodes them says what they are, so that hardly anything is wrapped. A
wrap is a call, so nothing is wrapped once for each entry.

    encode_reference(lsn, timeline_id, seq, kind)     mypy refuses any other order
"""

from __future__ import annotations

from typing import Final, NewType

Lsn = NewType("Lsn", int)  # of a commit, from 1
Seq = NewType("Seq", int)  # of an entry in its timeline, from 1
TimelineId = NewType("TimelineId", int)  # of a timeline, an in-box or an audience, from 1

NO_LSN: Final = Lsn(0)
NO_TIMELINE: Final = TimelineId(0)
