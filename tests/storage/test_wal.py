"""The promise: a log that lacks some of its last write is torn, and any other damage is damage.

The logs are RocksDB's own. Each write is longer than a block, so that it lies there in pieces.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from timeline.storage.wal import is_torn_at_the_end

SECTOR = 512
BLOCK = 32_768


class Log:
    """A log of some writes, `begins` where each begins, as a power cut may leave it."""

    def __init__(self, path: Path, content: bytes, begins: list[int]) -> None:
        path.mkdir()
        self._path = path
        self.content = content
        self.begins = begins

    def is_torn(self, *contents: bytes) -> bool:
        """What is said of logs of these contents, one after another."""
        for number, content in enumerate(contents):
            (self._path / f"{number:06}.log").write_bytes(content)
        return is_torn_at_the_end(self._path)

    def without(self, start: int, stop: int) -> bytes:
        """The content without the sectors from `start` to `stop`."""
        return self.content[:start] + bytes(stop - start) + self.content[stop:]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[int]]:
    path = tmp_path_factory.mktemp("written") / "rocks"
    database = Rdict(str(path), Options(raw_mode=True))
    (file,) = path.glob("*.log")
    begins = []
    for number in range(4):
        begins.append(file.stat().st_size)
        database.put(b"%d" % number, bytes([65 + number]) * (BLOCK * 2 + 100))
        database.flush_wal(True)
    content = file.read_bytes()
    database.close()
    return content, begins


@pytest.fixture
def log(written: tuple[bytes, list[int]], tmp_path: Path) -> Log:
    content, begins = written
    assert begins[-1] + 2 * BLOCK < len(content)
    return Log(tmp_path / "logs", content, begins)


def test_a_whole_log_is_not_torn(log: Log) -> None:
    assert not log.is_torn(log.content)
    assert not log.is_torn(log.content + bytes(3 * SECTOR)), "space that was only reserved"
    assert not log.is_torn(b"")


def test_a_last_write_that_lacks_some_is_torn(log: Log) -> None:
    begin, end = log.begins[-1], len(log.content)
    for cut in (begin + 1, begin + 8, begin + BLOCK, end - 1):
        assert log.is_torn(log.content[:cut])
        assert log.is_torn(log.content[:cut] + bytes(end - cut))
    for start in (begin, begin + SECTOR, begin + BLOCK, end - SECTOR):
        assert log.is_torn(log.without(start, start + SECTOR)), "the rest of it is there"


def test_what_lacks_before_a_whole_write_is_damage(log: Log) -> None:
    for begin in log.begins[:-1]:
        for start in (begin, begin + SECTOR, begin + BLOCK):
            assert not log.is_torn(log.without(start, start + SECTOR))


def test_only_the_last_log_may_be_torn(log: Log) -> None:
    torn = log.content[:-1]
    assert log.is_torn(log.content, torn)
    assert not log.is_torn(torn, log.content)
    assert not log.is_torn(torn, torn)


def test_a_log_of_nothing_behind_the_last_is_passed_over(log: Log) -> None:
    assert log.is_torn(log.content[:-1], b"", bytes(SECTOR))
    assert not log.is_torn(log.content, b"", bytes(SECTOR))
