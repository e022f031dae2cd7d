"""A walk passes over what cannot be read, finds where reading goes on, and tells what it missed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from timeline.errors import CorruptError
from timeline.storage.rocks import STATE, Storage
from timeline.verification.snapshot.walk import LAST, walk


class Damaged:
    """Rows of which RocksDB cannot read some: a scan fails when it comes to one."""

    def __init__(self, keys: list[bytes], damaged: set[bytes]) -> None:
        self._keys, self._damaged = keys, damaged

    def scan(self, _: str, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in self._keys:
            if start <= key < stop:
                if key in self._damaged:
                    raise CorruptError("a block is damaged")
                yield key, b"value"

    def at_or_after(self, family: str, start: bytes, stop: bytes) -> tuple[bytes, bytes] | None:
        return next(self.scan(family, start, stop), None)


KEYS = [b"%c%c" % (high, low) for high in b"abc" for low in b"xyz"]


def walked(damaged: set[bytes]) -> tuple[list[bytes], list[tuple[bytes, bytes | None]]]:
    missed: list[tuple[bytes, bytes | None]] = []
    storage = cast("Storage", Damaged(KEYS, damaged))
    found = [
        key
        for key, _ in walk(
            storage, STATE, b"", LAST, lambda start, stop, _: missed.append((start, stop))
        )
    ]
    return found, missed


def test_a_sound_family_is_walked_to_its_end() -> None:
    assert walked(set()) == (KEYS, [])


@pytest.mark.parametrize("damaged", [{b"bx"}, {b"ax"}, {b"ay", b"az", b"bx"}, {b"ax", b"cy"}])
def test_rows_before_and_behind_damage_are_read(damaged: set[bytes]) -> None:
    found, missed = walked(damaged)
    assert found == [key for key in KEYS if key not in damaged]
    for key in damaged:
        assert any(start <= key and (stop is None or key < stop) for start, stop in missed)


def test_damage_up_to_the_end_is_told_as_such() -> None:
    found, missed = walked({b"cy", b"cz"})
    assert found == KEYS[:-2]
    assert missed[-1][1] is None
