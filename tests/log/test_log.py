"""The promise of the log: what was appended durably is read back, in order, whatever a power cut or
a kill leaves of the last write; damage is told from that, with its place.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.log.logs import NOW, SMALL, append, bodies, numbered, open_log
from timeline.errors import ClosedError, CorruptError, StallError, StorageError, TrimmedError
from timeline.formats.logfiles import (
    FileHeader,
    encode_file_header,
)
from timeline.log.file import make_file
from timeline.log.ledger import LogFullError
from timeline.log.reader import LogReader

# --- what is written is read ----------------------------------------------------------------------


def test_records_come_back_in_order_over_many_files_and_openings(path: Path) -> None:
    written = numbered(100)
    for begin in range(0, 100, 10):
        log = open_log(path, marked=begin)
        for body in written[begin : begin + 10]:
            append(log, body)
        assert bodies(log) == written[: begin + 10]
        log.close()
    assert len(list(path.glob("*.log"))) > 5


def test_a_reader_gets_what_lies_above_its_position_in_pages(path: Path) -> None:
    log = open_log(path)
    for body in numbered(50):
        append(log, body, commits=3)
    after, seen = 0, []
    while page := log.read(after, log.last, 1000):
        assert sum(len(body) for _, _, body in page) < 1000 + 300
        seen += page
        after = page[-1][1]
    assert [body for _, _, body in seen] == numbered(50)
    assert [first for first, _, _ in seen] == list(range(1, 151, 3))
    inside = log.read(4, log.last, 1)  # a position within a record: the whole record comes
    assert inside[0][:2] == (4, 6)
    assert log.read(3, 5, 1000) == []  # not one that ends above what may be seen


def test_a_record_larger_than_a_file_has_a_file_of_its_size(path: Path) -> None:
    log = open_log(path)
    append(log, b"small")
    append(log, b"x" * 100_000)
    append(log, b"small again")
    log.close()
    assert bodies(open_log(path, marked=3)) == [b"small", b"x" * 100_000, b"small again"]


def test_a_record_without_a_commit_lies_between_two_others(path: Path) -> None:
    log = open_log(path)
    append(log, b"one")
    append(log, b"a moved checkpoint", commits=0)
    append(log, b"two")
    log.close()
    log = open_log(path, marked=2)
    assert log.last == 2
    assert [body for _, _, body in log.read(0, 2, 1 << 20)] == [
        b"one",
        b"a moved checkpoint",
        b"two",
    ]


def replayed(log: LogReader, after: int = 0) -> list[tuple[int, bytes]]:
    return [(last, body) for _, last, body in log.replay(after)]


def test_a_record_without_a_commit_stays_with_what_follows_it(path: Path) -> None:
    log = open_log(path)
    append(log, b"one")
    for number in range(3):
        append(log, b"moved %d" % number, commits=0, sync=number == 1)
    assert replayed(log, 1) == [(1, b"moved 0"), (1, b"moved 1"), (1, b"moved 2")]
    while not log.turn(log.last, NOW):
        log._spare.wait()
    log.let_go(1)
    assert replayed(log, 1) == [(1, b"moved 2")], "what the newest says, all said before it"
    append(log, b"moved 3", commits=0)
    append(log, b"x" * SMALL)  # needs a file of its own, which begins with the same LSN
    log.close()
    log = open_log(path, marked=2, after=1)
    assert replayed(log, 1) == [(1, b"moved 3"), (2, b"x" * SMALL)]
    append(log, b"moved 4", commits=0, sync=False)
    log.close()
    log = open_log(path, marked=2, after=1)
    assert replayed(log, 2) == [(2, b"moved 4")]
    assert log.read(1, 2, 1 << 20) == [(2, 2, b"x" * SMALL)], "followers read commits"


def test_readers_read_while_the_writer_writes(path: Path) -> None:
    log = open_log(path)
    written = numbered(300, 100)
    seen: list[list[bytes]] = [[] for _ in range(3)]

    def follow(found: list[bytes]) -> None:
        after = 0
        while after < 300:
            for _, last, body in log.read(after, log.last, 2000):
                found.append(body)
                after = last

    threads = [threading.Thread(target=follow, args=(each,)) for each in seen]
    for thread in threads:
        thread.start()
    for body in written:
        append(log, body)
    for thread in threads:
        thread.join()
    assert all(each == written for each in seen)


def test_a_reader_of_a_log_that_another_writes_moves_on_and_changes_nothing(path: Path) -> None:
    log = open_log(path)
    append(log, b"first")
    log._spare.wait()
    reader = LogReader(path, after=0, marked=1, read_only=True)
    seen = [body for _, _, body in reader.read(0, reader.last, 1 << 20)]
    for body in numbered(100):
        append(log, body)
        if len(seen) % 7 == 0:
            log.turn(log.last, NOW)
        before = reader.last
        reader.refresh(log.last)
        seen += [found for _, _, found in reader.read(before, reader.last, 1 << 20)]
    assert seen == [b"first", *numbered(100)]
    log.let_go(50)
    reader.refresh(log.last)
    assert reader.first == log.first
    log._spare.wait()
    content = {each: each.read_bytes() for each in path.iterdir()}
    LogReader(path, after=60, marked=101, read_only=True)
    assert content == {each: each.read_bytes() for each in path.iterdir()}


# --- letting go -----------------------------------------------------------------------------------


def test_whole_files_go_and_the_newest_stays(path: Path) -> None:
    log = open_log(path)
    for body in numbered(60):
        append(log, body)
    second = log.parts[0].last + 1
    log.let_go(second - 2)
    assert log.first == 1
    log.let_go(second - 1)
    assert log.first == second
    with pytest.raises(TrimmedError):
        log.read(0, log.last, 1)
    assert bodies(log, second - 1) == numbered(60)[second - 1 :]
    log.let_go(60)
    assert 1 < log.first <= 60
    sealed = log.first - 1
    log.close()
    assert open_log(path, after=sealed, marked=60).last == 60
    with pytest.raises(CorruptError, match="what follows LSN 20 is lost"):
        open_log(path, after=20, marked=60)


def test_turning_begins_a_new_file_so_that_the_present_one_can_go(path: Path) -> None:
    log = open_log(path)
    append(log, b"secret")
    while not log.turn(log.last, NOW):
        log._spare.wait()
    log.let_go(1)
    assert (log.first, log.last) == (2, 1)
    append(log, b"next")
    assert not any(b"secret" in each.read_bytes() for each in path.iterdir())


# --- a disk that fails ----------------------------------------------------------------------------


class Faulty:
    """`os` as the files of a log see it: some call fails once, and then the pages are lost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, call: str, *, lose: bool) -> None:
        self.armed = False
        real = getattr(os, call)

        def fail(*arguments: object) -> object:
            if not self.armed:
                return real(*arguments)
            self.armed = False
            if not lose:
                real(*arguments)
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, call, fail)


@pytest.mark.parametrize("lose", [False, True])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_after_a_failed_write_what_was_in_doubt_stands_in_a_new_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, times: int, *, lose: bool
) -> None:
    faulty = Faulty(monkeypatch, "pwritev", lose=lose)
    log = open_log(path)
    written = []
    for number in range(12):
        body = f"record {number}".encode()
        if number % 4 == times % 4:
            faulty.armed = True
            with pytest.raises(StorageError, match="Input/output"):
                append(log, body)
            assert log.failed
            with pytest.raises(StorageError, match="healed"):
                log.append(log.last + 1, log.last + 1, b"other", NOW)
            log._spare.want(SMALL)
            log._spare.wait()
            log.heal(NOW)
        else:
            append(log, body)
        written.append(body)
        assert bodies(log) == written
    log.close()
    log = open_log(path, marked=12)
    assert bodies(log) == written


@pytest.mark.parametrize("call", ["pwritev", "fdatasync"])
def test_an_append_that_was_interrupted_is_there_once_when_it_was_made_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """By Ctrl-C, when the system had done it already."""
    log = open_log(path)
    append(log, b"one", sync=False)
    real = getattr(os, call)

    def interrupt(*arguments: object) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, call, interrupt)
        with pytest.raises(KeyboardInterrupt):
            log.append(2, 2, b"two", NOW)
    for body in (b"two", b"three"):
        append(log, body)
    log.close()
    assert bodies(open_log(path, marked=3)) == [b"one", b"two", b"three"]


def stop(_: Path) -> None:
    raise KeyboardInterrupt


def test_a_kill_before_the_new_file_has_its_name_leaves_what_was_durable(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = Faulty(monkeypatch, "pwritev", lose=True)
    log = open_log(path)
    append(log, b"durable")
    faulty.armed = True
    with pytest.raises(StorageError):
        append(log, b"in doubt")
    log._spare.want(SMALL)
    log._spare.wait()
    with monkeypatch.context() as patched:
        patched.setattr(log._spare, "name", stop)
        with pytest.raises(KeyboardInterrupt):
            log.heal(NOW)
    log.close()
    log = open_log(path, marked=1)
    assert bodies(log) == [b"durable"]
    append(log, b"goes on")
    log.close()
    assert bodies(open_log(path, marked=2)) == [b"durable", b"goes on"]


def test_a_full_disk_is_met_before_anything_is_in_doubt(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = False
    real = make_file

    def make(target: Path, size: int, going_on: Callable[[], bool]) -> bool:
        if full:
            raise StorageError(f"{target}: the disk is full: free some space")
        return real(target, size, going_on)

    monkeypatch.setattr("timeline.log.spare.make_file", make)
    log = open_log(path)
    written = []
    for body in numbered(8):
        append(log, body)
        written.append(body)
    log._spare.wait()
    full = True
    try:
        for body in numbered(30):
            append(log, body)
            written.append(body)
    except LogFullError:
        pass
    assert 8 < len(written) < 38
    assert not log.failed
    assert bodies(log) == written
    with pytest.raises((LogFullError, StallError)):
        log.append(log.last + 1, log.last + 1, b"x" * 3000, NOW)
    full = False
    log._spare.wait()
    append(log, b"room again")
    assert bodies(log) == [*written, b"room again"]


def test_a_file_for_which_there_is_no_room_is_not_begun(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others write to the disk too, and would find it full meanwhile."""
    written: list[int] = []
    monkeypatch.setattr(os, "pwrite", lambda *arguments: written.append(len(arguments[1])))
    with pytest.raises(StorageError, match="the disk is full"):
        make_file(small_disk / "spare", 64 << 20, lambda: True)
    assert not written
    assert not list(small_disk.iterdir())


# --- what a kill leaves of the next file ----------------------------------------------------------


def leave_partial(path: Path) -> None:
    (path / ".spare.partial").write_bytes(bytes(100))


def leave_used(path: Path) -> None:
    header = encode_file_header(FileHeader(7, 3, NOW, b"saltsalt"))
    (path / "spare").write_bytes(header.ljust(SMALL, b"\0"))


def leave_whole(path: Path) -> None:
    (path / "spare").write_bytes(bytes(SMALL))


@pytest.mark.parametrize("leave", [leave_partial, leave_used, leave_whole])
def test_what_a_kill_left_of_the_next_file_is_used_or_removed(
    path: Path, leave: Callable[[Path], None]
) -> None:
    log = open_log(path)
    append(log, b"one")
    append(log, b"two")
    log.close()
    leave(path)
    log = open_log(path, marked=2)
    for body in numbered(30):
        append(log, body)
    assert bodies(log)[2:] == numbered(30)
    log.close()
    assert {each.name for each in path.iterdir() if each.suffix != ".log"} <= {"spare"}


def test_a_closed_log_says_so_and_not_that_it_was_trimmed(path: Path) -> None:
    log = open_log(path)
    append(log, b"one")
    log.close()
    for read in (
        lambda: log.read(0, 1, 100),
        lambda: log.read(1, 1, 100),
        lambda: list(log.replay(0)),
        lambda: log.first,
    ):
        with pytest.raises(ClosedError, match="to be opened again"):
            read()
