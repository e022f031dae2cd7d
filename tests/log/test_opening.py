"""The promise: whatever a power cut leaves of the last write is told from damage, which is refused
with its place.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.log.logs import append, bodies, numbered, open_log
from timeline.errors import CorruptError, FormatVersionError
from timeline.formats.logfiles import (
    FRAME_BYTES,
    HEADER_BYTES,
    encode_frame,
    framed_size,
    salted,
)
from timeline.log.reader import LogReader

# --- a power cut ----------------------------------------------------------------------------------

Fill = Callable[[bytes], bytes]

FILLS: Final[dict[str, Fill]] = {
    "zeros": lambda lost: bytes(len(lost)),
    "random bytes": lambda lost: random.Random(5).randbytes(len(lost)),
    "other bytes": lambda lost: bytes(each ^ 0xFF for each in lost),
}


def write_three(path: Path) -> tuple[Path, bytes, int, int]:
    """A log of three records: its file, what is in it, and where the last one begins and ends."""
    log = open_log(path)
    for body in (b"first" * 20, b"second" * 20, b"third" * 30):
        append(log, body)
    log.close()
    (file,) = path.glob("*.log")
    end = HEADER_BYTES + sum(map(framed_size, (100, 120, 150)))
    return file, file.read_bytes(), end - framed_size(150), end


@pytest.mark.parametrize("fill", FILLS)
def test_a_last_write_torn_at_any_byte_is_cut_and_the_rest_stands(path: Path, fill: str) -> None:
    file, content, begin, end = write_three(path)
    for at in range(begin, end - 1):
        file.write_bytes(content[:at] + FILLS[fill](content[at:end]) + content[end:])
        log = open_log(path, marked=2)
        if log.last == 3:  # only its padding was lost
            assert at >= end - 7
        else:
            assert bodies(log) == [b"first" * 20, b"second" * 20]
            append(log, b"new")
        log.close()
        again = open_log(path, marked=3)
        assert again.last == 3
        assert bodies(again)[:2] == [b"first" * 20, b"second" * 20]
        again.close()


@pytest.mark.parametrize("sector", [8, 64])
def test_a_last_write_of_which_any_sector_is_missing_is_cut(path: Path, sector: int) -> None:
    file, content, begin, end = write_three(path)
    for at in range(begin, end, sector):
        hole = content[:at] + bytes(min(sector, end - at)) + content[at + sector :]
        if hole == content:
            continue
        file.write_bytes(hole)
        log = open_log(path, marked=2)
        assert log.last == 2 or at + sector >= end
        log.close()


def test_the_loss_of_a_record_that_was_acknowledged_is_told(path: Path) -> None:
    file, content, begin, end = write_three(path)
    file.write_bytes(content[:begin] + bytes(end - begin) + content[end:])
    with pytest.raises(CorruptError, match=r"ends at LSN 2.* up to 3 were acknowledged"):
        open_log(path, marked=3)
    for each in path.glob("*.log"):
        each.unlink()
    with pytest.raises(CorruptError, match="has gone above LSN 1"):
        open_log(path, after=1, marked=3)


def test_damage_at_any_byte_before_the_last_record_names_file_and_place(path: Path) -> None:
    file, content, begin, _ = write_three(path)
    told = 0
    for at in range(HEADER_BYTES, begin):
        changed = bytearray(content)
        changed[at] ^= 0x10
        file.write_bytes(changed)
        try:
            log = open_log(path, marked=3)
        except CorruptError as error:
            told += f"{file} is damaged at byte" in str(error)
        else:  # it lay in the padding of a record
            assert len(bodies(log)) == 3
            log.close()
    assert told >= 2 * FRAME_BYTES + 100 + 120


@pytest.mark.parametrize("after", [1, 2])
def test_damage_to_what_is_sealed_keeps_nobody_from_opening(path: Path, after: int) -> None:
    """Wherever it lies. Who reads there is told, and never given a record too few."""
    file, content, _, _ = write_three(path)
    sealed_end = HEADER_BYTES + framed_size(100) + (framed_size(120) if after == 2 else 0)
    for at in range(HEADER_BYTES, sealed_end):
        changed = bytearray(content)
        changed[at] ^= 0x10
        file.write_bytes(changed)
        log = open_log(path, after=after, marked=3)
        assert log.last == 3
        assert [last for _, last, _ in log.replay(after)] == list(range(after + 1, 4))
        assert [last for _, last, _ in log.read(after, 3, 1 << 30)] == list(range(after + 1, 4))
        with suppress(CorruptError):
            assert len(bodies(log)) == 3, at
        append(log, b"fourth")
        log.close()
        assert open_log(path, after=after, marked=4).last == 4


@pytest.mark.parametrize("at", [0, FRAME_BYTES], ids=["head", "body"])
@pytest.mark.parametrize("damaged", [1, 2, 3, 4])
def test_damage_below_the_sealed_lsn_costs_its_readers_only(
    path: Path, damaged: int, at: int
) -> None:
    """The frame that is damaged may be the first, the last that is sealed, or lie between; the log
    goes on with a record without a commit.
    """
    log = open_log(path)
    for body in numbered(4, 100):
        append(log, body)
    append(log, b"no commit", commits=0)
    for body in numbered(3, 100):
        append(log, body)
    log.close()
    (file,) = path.glob("*.log")
    content = bytearray(file.read_bytes())
    content[HEADER_BYTES + (damaged - 1) * framed_size(100) + at] ^= 1
    file.write_bytes(content)
    log = open_log(path, after=4, marked=7)
    assert [last for _, last, _ in log.replay(4)] == [4, 5, 6, 7]
    for after in range(damaged, 7):
        lsns = [last for first, last, _ in log.read(after, 7, 1 << 30) if first <= last]
        assert lsns == list(range(after + 1, 8))
    for after in range(damaged):
        with pytest.raises(CorruptError, match="damaged at byte"):
            log.read(after, 7, 1 << 30)
    append(log, b"new")
    log.close()
    assert open_log(path, after=4, marked=8).last == 8
    with pytest.raises(CorruptError, match="damaged at byte"):
        open_log(path, after=damaged - 1, marked=8)


def test_what_follows_damage_to_what_is_sealed_is_checked_as_ever(path: Path) -> None:
    file, content, begin, _ = write_three(path)
    changed = bytearray(content)
    changed[HEADER_BYTES] ^= 1  # the first record, which is sealed,
    changed[begin - 50] ^= 1  # and the second, which is not
    file.write_bytes(changed)
    with pytest.raises(CorruptError, match=f"{file} is damaged at byte"):
        open_log(path, after=1, marked=3)


def test_one_damaged_copy_of_the_header_is_survived_and_two_are_told(path: Path) -> None:
    file, content, _, _ = write_three(path)
    for at in (20, 532):
        one = bytearray(content)
        one[at] ^= 1
        file.write_bytes(one)
        log = open_log(path, marked=3)
        assert len(bodies(log)) == 3
        log.close()
    both = bytearray(content)
    both[20] ^= 1
    both[532] ^= 2
    file.write_bytes(both)
    with pytest.raises(CorruptError, match="byte 0"):
        open_log(path, marked=3)
    newer = bytearray(content)
    newer[8] = newer[520] = 9
    file.write_bytes(newer)
    with pytest.raises(FormatVersionError, match="version 9"):
        open_log(path, marked=3)


def test_a_file_that_is_missing_in_the_middle_is_damage(path: Path) -> None:
    log = open_log(path)
    for body in numbered(60):
        append(log, body)
    log.close()
    files = sorted(path.glob("*.log"))
    files[2].rename(path / "elsewhere")
    with pytest.raises(CorruptError, match="are lost there"):
        open_log(path, marked=60)
    assert open_log(path, after=59, marked=60).last == 60  # nothing of it is needed


def test_a_message_that_holds_the_bytes_of_a_frame_is_not_taken_for_one(path: Path) -> None:
    """Its sender does not know the salt. The write that holds it is torn in its first bytes."""
    for seed in (0, salted(bytes(8))):
        forged = encode_frame(seed, 3, 3, 0, b"forged") + b"forged"
        log = open_log(path)
        append(log, b"true")
        append(log, bytes(8) + forged * 5)
        log.close()
        (file,) = path.glob("*.log")
        content = bytearray(file.read_bytes())
        begin = HEADER_BYTES + framed_size(4)
        content[begin : begin + FRAME_BYTES] = bytes(FRAME_BYTES)
        file.write_bytes(content)
        log = open_log(path, marked=1)
        assert bodies(log) == [b"true"]
        log.close()
        shutil.rmtree(path)


def test_a_torn_write_is_left_alone_by_who_only_reads(path: Path) -> None:
    file, content, begin, _ = write_three(path)
    torn = content[: begin + 50] + bytes(len(content) - begin - 50)
    file.write_bytes(torn)
    reader = LogReader(path, after=0, marked=2, read_only=True)
    assert reader.last == 2
    assert file.read_bytes() == torn


# --- several writes between two fsyncs ------------------------------------------------------------


def test_with_interval_durability_a_power_cut_may_lose_one_write_and_keep_the_next(
    path: Path,
) -> None:
    log = open_log(path)
    places = []
    for number, body in enumerate(numbered(8, 100)):
        places.append(log._files[-1].end if log._files else HEADER_BYTES)
        append(log, body, sync=number == 3)
    log.close()
    (file,) = path.glob("*.log")
    content = file.read_bytes()
    size = framed_size(100)
    for lost in range(8):
        at = places[lost]
        file.write_bytes(content[:at] + bytes(size) + content[at + size :])
        if lost < 4:  # it was durable, and the mark says so
            with pytest.raises(CorruptError):
                open_log(path, marked=4)
        else:
            log = open_log(path, marked=4)
            assert bodies(log) == numbered(8, 100)[:lost]
            log.close()
            assert not any(file.read_bytes()[places[lost] :])
