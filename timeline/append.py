"""One append as one commit: the path that every message takes, so it is written for speed.

Rule: it does what a `Draft` with one `append` does, with the same checks, and differs from it in
nothing that can be seen. What is rare (a new timeline, several fields) is left to the draft and
the codec.
"""

from __future__ import annotations

from collections.abc import Sequence

from timeline.draft import Draft
from timeline.formats.entries import encode_entry
from timeline.formats.keys import MAX
from timeline.formats.segments import Row
from timeline.options import Options
from timeline.stage import Stage


class Appender:
    def __init__(self, stage: Stage, options: Options) -> None:
        self._stage = stage
        self._field_limit = options.field_name_bytes
        self._entry_limit = options.entry_bytes
        self._group_limit = options.group_bytes

    def append(self, name: bytes, items: Sequence[bytes]) -> Row:
        """Stage one entry at the end of the timeline `name`, which is made if it is new.

        `items` is field, value, field, value, …. The caller holds the engine's lock. Raises
        `UsageError`, `TooLargeError`, `BusyError`, `ReadOnlyError`; then nothing was staged.
        """
        stage = self._stage
        group = stage.open
        if stage.refusal is not None or group.size > self._group_limit:
            stage.check_open()
        timeline = stage.by_name.get(name)
        if timeline is None or timeline.staged is None:
            timeline = stage.find(name)
            if timeline is None:
                draft = Draft(stage)
                row = draft.append(draft.create(name), items)
                draft.commit()
                return row
        seq = timeline.next
        if seq >= MAX:
            raise stage.no_number(timeline)
        if len(items) != 2 or len(items[0]) > self._field_limit:
            stage.check_items(items)
        payload = encode_entry(seq, items)
        size = len(payload)
        if size > self._entry_limit:
            stage.check_entry(payload)
        if not group.time:
            group.time = stage.now()
        lsn = group.next
        row = (seq, lsn, group.time, payload)
        group.timelines.append(timeline)
        group.rows.append(row)
        group.next = lsn + 1
        group.size += size
        timeline.next = seq + 1
        return row
