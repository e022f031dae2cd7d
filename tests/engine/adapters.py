"""One store, two doors: the embedded API and the wire, behind one set of verbs.

Rule: an adapter only translates. Numbers are plain integers, fields are pairs of bytes, and a
refusal is a `Refused` whose text begins with the code of contract.md, so that a promise can be
stated once and kept by both.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import redis

import timeline
from tests.server.daemon import Daemon
from timeline.errors import TimelineError

Pairs = list[tuple[bytes, bytes]]
Entries = list[tuple[int, Pairs]]
HIGHEST = 2**64 - 2


class Refused(Exception):  # noqa: N818  what happened, not what failed
    """The store said no; the text is its code and its sentence."""


class Adapter(Protocol):
    def append(self, name: str, fields: dict[str, bytes], seq: int | None = None) -> int: ...
    def append_many(self, name: str, many: Sequence[dict[str, bytes]]) -> list[int]: ...
    def commit(self, writes: Sequence[tuple[str, dict[str, bytes]]]) -> list[int]: ...
    def range(
        self,
        name: str,
        first: int = 0,
        last: int = HIGHEST,
        limit: int | None = None,
        *,
        reverse: bool = False,
    ) -> Entries: ...
    def length(self, name: str) -> int: ...
    def head(self, name: str) -> int: ...
    def trim_to_length(self, name: str, length: int) -> int: ...
    def trim_before(self, name: str, first: int) -> int: ...
    def delete(self, name: str, *seqs: int) -> int: ...
    def drop(self, name: str) -> bool: ...
    def names(self) -> list[str]: ...
    def compact(self) -> None: ...
    def restart(self) -> None:
        """Stop as one should, and open again."""

    def kill(self) -> None:
        """Stop as one should not, and open again."""


class Embedded:
    def __init__(self, path: Path, deleted_names: int) -> None:
        self._path = path
        self._options = timeline.Options(deleted_names=deleted_names)
        self.db = timeline.open(path, self._options)

    def append(self, name: str, fields: dict[str, bytes], seq: int | None = None) -> int:
        with refusals():
            return self.db.timeline(name).append(fields, seq=seq)

    def append_many(self, name: str, many: Sequence[dict[str, bytes]]) -> list[int]:
        with refusals():
            return list(self.db.timeline(name).append_many(many))

    def commit(self, writes: Sequence[tuple[str, dict[str, bytes]]]) -> list[int]:
        with refusals(), self.db.transaction() as write:
            return [write.append(name, fields) for name, fields in writes]

    def range(
        self,
        name: str,
        first: int = 0,
        last: int = HIGHEST,
        limit: int | None = None,
        *,
        reverse: bool = False,
    ) -> Entries:
        found = self.db.timeline(name).range(first=first, last=last, limit=limit, reverse=reverse)
        return [(entry.seq, list(entry.fields)) for entry in found]

    def length(self, name: str) -> int:
        return len(self.db.timeline(name))

    def head(self, name: str) -> int:
        return self.db.timeline(name).head

    def trim_to_length(self, name: str, length: int) -> int:
        return self.db.timeline(name).trim(length=length)

    def trim_before(self, name: str, first: int) -> int:
        return self.db.timeline(name).trim(before=first)

    def delete(self, name: str, *seqs: int) -> int:
        return self.db.timeline(name).delete(*seqs)

    def drop(self, name: str) -> bool:
        return self.db.timeline(name).drop()

    def names(self) -> list[str]:
        return [name.decode() for name in self.db.timelines()]

    def compact(self) -> None:
        self.db.compact()

    def restart(self) -> None:
        self.db.close()
        self.db = timeline.open(self._path, self._options)

    def kill(self) -> None:
        """As near as one comes inside one process: no flush, no seal, no goodbye."""
        engine = self.db.engine
        engine._driver.stop()
        with engine.standing_still():
            engine.control.close()
            engine.store.close()
            engine.mark.close()
            engine._lock_file.release()
        self.db = timeline.open(self._path, self._options)

    def close(self) -> None:
        self.db.close()


class Wire:
    """redis-py against a daemon of its own."""

    def __init__(self, path: Path, deleted_names: int) -> None:
        self._path = path
        self._deleted_names = str(deleted_names)
        self._start()

    def _start(self) -> None:
        self.daemon = Daemon(self._path, "--deleted-names", self._deleted_names)
        self.client: Any = self.daemon.client()

    def append(self, name: str, fields: dict[str, bytes], seq: int | None = None) -> int:
        with refusals():
            return _seq(self.client.xadd(name, fields, id="*" if seq is None else str(seq)))

    def append_many(self, name: str, many: Sequence[dict[str, bytes]]) -> list[int]:
        pipeline = self.client.pipeline(transaction=False)
        for fields in many:
            pipeline.xadd(name, fields)
        with refusals():
            return [_seq(found) for found in pipeline.execute()]

    def commit(self, writes: Sequence[tuple[str, dict[str, bytes]]]) -> list[int]:
        pipeline = self.client.pipeline(transaction=True)
        for name, fields in writes:
            pipeline.xadd(name, fields)
        with refusals():
            return [_seq(found) for found in pipeline.execute()]

    def range(
        self,
        name: str,
        first: int = 0,
        last: int = HIGHEST,
        limit: int | None = None,
        *,
        reverse: bool = False,
    ) -> Entries:
        low, high = str(first), str(last)
        if reverse:
            found = self.client.execute_command(
                "XREVRANGE", name, high, low, *_count(limit), keys=[name]
            )
        else:
            found = self.client.execute_command(
                "XRANGE", name, low, high, *_count(limit), keys=[name]
            )
        return [(_seq(entry), _pairs(fields)) for entry, fields in found]

    def length(self, name: str) -> int:
        return int(self.client.xlen(name))

    def head(self, name: str) -> int:
        if not self.client.exists(name):
            return 0
        return _seq(self.client.xinfo_stream(name)["last-generated-id"])

    def trim_to_length(self, name: str, length: int) -> int:
        return int(self.client.xtrim(name, maxlen=length, approximate=False))

    def trim_before(self, name: str, first: int) -> int:
        return int(self.client.xtrim(name, minid=str(first), approximate=False))

    def delete(self, name: str, *seqs: int) -> int:
        return int(self.client.xdel(name, *(str(seq) for seq in seqs)))

    def drop(self, name: str) -> bool:
        return bool(self.client.delete(name))

    def names(self) -> list[str]:
        return sorted(name.decode() for name in self.client.scan_iter())

    def compact(self) -> None:
        self.client.execute_command("TIMELINE.COMPACT")

    def restart(self) -> None:
        self.client.close()
        assert self.daemon.stop() == 0, self.daemon.log.read_text()
        self._start()

    def kill(self) -> None:
        self.client.close()
        self.daemon.stop(signal.SIGKILL)
        self._start()

    def close(self) -> None:
        self.client.close()
        self.daemon.stop()


def _seq(entry_id: bytes | str) -> int:
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    seq, _, rest = text.partition("-")
    assert rest == "0", entry_id
    return int(seq)


def _count(limit: int | None) -> list[str | int]:
    return [] if limit is None else ["COUNT", limit]


def _pairs(fields: Any) -> Pairs:  # noqa: ANN401  redis-py gives a dict or a list, by protocol
    if isinstance(fields, dict):
        return list(fields.items())
    return list(zip(fields[::2], fields[1::2], strict=True))


@contextmanager
def refusals() -> Iterator[None]:
    try:
        yield
    except TimelineError as error:
        raise Refused(f"{error.code} {error}") from error
    except redis.exceptions.NoPermissionError as error:  # whose first word redis-py takes off
        raise Refused(f"NOPERM {error}") from error
    except redis.ResponseError as error:
        text = str(error)
        code = text.split(maxsplit=1)[0]
        raise Refused(text if code.isupper() else f"ERR {text}") from error
