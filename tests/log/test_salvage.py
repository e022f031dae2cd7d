"""The promise: of a damaged log everything that is whole is given, with what is missing between.
What is no damage to an opening is none here.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.engine.stores import fail_once
from tests.log.logs import NOW, append, numbered, open_log
from timeline.errors import StorageError
from timeline.formats.logfiles import HEADER_BYTES, framed_size
from timeline.log.file import name_of
from timeline.log.reader import LogReader
from timeline.log.salvage import Begin, Flaw, Piece, SalvagedFiles, Whole


def pieces(path: Path, *, marked: int = 0, after: int = 0) -> list[Piece]:
    return [*SalvagedFiles(path).pieces(after, marked)]


def whole(path: Path, *, marked: int = 0, after: int = 0) -> list[int]:
    """The last LSNs of records."""
    return [each.last for each in pieces(path, marked=marked, after=after) if type(each) is Whole]


def flaws(path: Path, *, marked: int = 0) -> list[Flaw]:
    return [each for each in pieces(path, marked=marked) if type(each) is Flaw]


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def write(path: Path, count: int, *, sync: bool = True) -> list[Path]:
    log = open_log(path)
    for body in numbered(count):
        append(log, body, sync=sync)
    log.sync()
    log.close()
    return sorted(path.glob("*.log"))


def place_of(number: int) -> int:
    """Where in a file its record `number`, from 0 on, begins."""
    return HEADER_BYTES + number * framed_size(300)


def test_of_a_sound_log_everything_is_given_with_where_files_begin(path: Path) -> None:
    files = write(path, 20)
    assert len(files) > 2
    found = pieces(path, marked=20)
    firsts = [int(file.stem) for file in files]
    assert [each.first for each in found if type(each) is Begin] == firsts
    assert whole(path, marked=20) == list(range(1, 21))
    assert flaws(path, marked=20) == []
    assert whole(path, marked=20, after=firsts[1]) == list(range(firsts[1], 21))


def test_there_may_be_no_log_at_all(path: Path) -> None:
    assert pieces(path) == []


def test_what_lies_behind_damage_is_given_too(path: Path) -> None:
    first, *_ = write(path, 20)
    flip(first, place_of(2) + 40)
    (flaw,) = flaws(path, marked=20)
    assert (flaw.first, flaw.upto, flaw.torn) == (3, 3, False)
    assert flaw.text == f"{first} is damaged at byte {place_of(2)}"
    assert whole(path, marked=20) == [1, 2, *range(4, 21)]


def test_damage_at_the_end_of_an_older_file_reaches_up_to_the_next(path: Path) -> None:
    first, second, *_ = write(path, 20)
    content = first.read_bytes()
    first.write_bytes(content[: place_of(3)] + bytes(len(content) - place_of(3)))
    (flaw,) = flaws(path, marked=20)
    assert (flaw.first, flaw.upto, flaw.torn) == (4, int(second.stem) - 1, False)


def test_a_gap_that_a_power_cut_left_among_unsynced_records_is_torn_beyond_the_mark(
    path: Path,
) -> None:
    (file,) = write(path, 8, sync=False)
    content = file.read_bytes()
    file.write_bytes(content[: place_of(5)] + bytes(framed_size(300)) + content[place_of(6) :])
    assert LogReader(path, after=0, marked=5, read_only=True).last == 5
    (flaw,) = flaws(path, marked=5)
    assert flaw.torn
    assert whole(path, marked=5) == [1, 2, 3, 4, 5]
    (flaw,) = flaws(path, marked=7)
    assert (flaw.first, flaw.upto, flaw.torn) == (6, 6, False)
    assert whole(path, marked=7) == [1, 2, 3, 4, 5, 7, 8]


def test_what_was_in_doubt_and_lies_in_the_next_file_is_given_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(path)
    for body in numbered(3):
        append(log, body)

    append(log, b"in doubt", sync=False)
    log._spare.wait()  # so that nobody else syncs meanwhile
    with monkeypatch.context() as patch:
        fail_once(patch, os, "fdatasync", OSError(errno.EIO, "Input/output error"))
        with pytest.raises(StorageError):
            log.sync()
    log._spare.want(4096)
    log._spare.wait()
    log.heal(NOW)
    append(log, b"and on")
    log.close()
    flip(path / name_of(1), place_of(3) + 34)  # a copy that nobody reads
    assert flaws(path, marked=5) == []
    assert whole(path, marked=5) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("salt", ["intact", "lost"])
def test_without_a_header_a_file_is_read_by_its_salt_if_that_is_left(path: Path, salt: str) -> None:
    _, second, third, *_ = write(path, 20)
    for copy in (0, 512):
        flip(second, copy + (20 if salt == "intact" else 36))
    found = flaws(path, marked=20)
    assert str(second) in found[0].text
    inside = range(int(second.stem), int(third.stem))
    if salt == "intact":
        assert [each.first for each in found] == [0], "nothing is missing"
        assert whole(path, marked=20) == list(range(1, 21))
    else:
        assert [(each.first, each.upto) for each in found[1:]] == [(inside[0], inside[-1])]
        assert whole(path, marked=20) == [n for n in range(1, 21) if n not in inside]
