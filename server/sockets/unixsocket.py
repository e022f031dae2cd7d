"""A Unix socket to listen on. It is a file with permissions, for machines with several users.

Rule: the file is there while the daemon runs. The daemon replaces what a killed daemon left, and
nothing else. A lock next to the file (`PATH.lock`) tells these apart, also while a daemon is bound
and not listening yet.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from timeline.storage.lock import Lock

_OTHERWISE = "choose another with --socket"


class UnixSocket:
    """Bound, not listening. Raises `OSError`, which says why, and `TimelineError`."""

    def __init__(self, path: Path, mode: int) -> None:
        self.path = path
        if not path.parent.is_dir():
            raise OSError(f"{path.parent} is no directory for a socket: {_OTHERWISE}")
        self._lock = Lock(
            path.with_name(path.name + ".lock"),
            path,
            f"stop what listens there, or {_OTHERWISE}",
            signed=True,
        )
        self.socket = socket.socket(socket.AF_UNIX)
        self._made: os.stat_result | None = None
        try:
            self._remove_stale()
            self.socket.bind(str(path))
            path.chmod(mode)
            self._made = path.stat()
        except OSError as problem:
            self.close()
            raise OSError(
                f"cannot listen on {path} ({problem.strerror or problem}): {_OTHERWISE}"
            ) from problem

    def _remove_stale(self) -> None:
        """Remove a socket that nobody listens on. Raises `OSError` for whatever else is there."""
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise OSError("what is there is no socket")
        with socket.socket(socket.AF_UNIX) as link:
            link.setblocking(False)
            try:
                link.connect(str(self.path))
            except ConnectionRefusedError:
                self.path.unlink()
                return
            except OSError:  # its backlog is full, or it is another's
                pass
        raise OSError("something listens there")

    def close(self) -> None:
        """Listen no more, and remove the file, unless it is another's by now."""
        self.socket.close()
        with suppress(OSError):
            if self._made is not None and os.path.samestat(self.path.lstat(), self._made):
                self.path.unlink()
        with suppress(OSError):
            self._lock.path.unlink()
        self._lock.release()
