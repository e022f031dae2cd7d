"""Rows that a repair copies are those that their codecs can decode, whatever other rows say."""

from __future__ import annotations

import pytest

from timeline.engine.store.directory import STORE_KEY
from timeline.formats import keys
from timeline.formats.rows import FORMAT, RAW, StoreRow, TimelineRow, encode_row, encode_store
from timeline.storage.rocks import INBOXES, META, PATCHES, SEGMENTS, STATE
from timeline.verification.snapshot.readable import readable

ROW = encode_row(TimelineRow(RAW, 0, 1, 0, 0, 0, b"a"))


@pytest.mark.parametrize(
    ("family", "key", "value", "copied"),
    [
        (STATE, keys.ROW + keys.number(7), ROW, True),
        (STATE, keys.ROW + keys.number(7), ROW[:3], False),
        (STATE, keys.NAME + b"a", keys.number(10**9), True),  # such a timeline need not be there
        (STATE, keys.NAME + b"a", b"7", False),
        (META, STORE_KEY, encode_store(StoreRow(FORMAT, 1)), True),
        (META, b"unknown", b"", False),
        (SEGMENTS, keys.pair(7, 1), b"", False),
        (INBOXES, keys.pair(7, 1), b"", False),
        (PATCHES, keys.pair(7, 1), b"", True),
        (PATCHES, keys.pair(7, 1), b"*", False),
        (META, keys.CHAPTER + keys.number(1), keys.pair(1, 1), False),  # of format 1
    ],
)
def test_what_a_repair_copies(family: str, key: bytes, value: bytes, copied: bool) -> None:
    assert readable(family, key, value) is copied
