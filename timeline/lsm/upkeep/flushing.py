"""Flushing: what is sealed reaches the disk, so that the log below it can be let go.

Responsibility: decide when RocksDB is to flush its memory, have it do so on a thread, and say up to
which LSN what is sealed is on the disk.

Rule: a flush follows a pass of sealing when log worth it has piled up since the last one: half of
what RocksDB would flush by itself. That bounds what an opening must apply again after a kill.
RocksDB may flush by itself, and then more is on the disk than is known here. The log is needed from
the flushed LSN on, so an error on this side keeps too much.

The caller holds the engine's lock, except where a method says otherwise. A failure of the thread is
kept by the storage, and turns writing off.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from timeline.errors import TimelineError
from timeline.lsm.log import Log
from timeline.lsm.upkeep.sealing import Sealing
from timeline.options import Options
from timeline.storage.rocks import Storage


class Flushing:
    def __init__(self, storage: Storage, sealing: Sealing, log: Log, options: Options) -> None:
        self._storage = storage
        self._sealing = sealing
        self._log = log
        self._worth = min(options.write_buffer_bytes, options.unsealed_bytes) // 2  # bytes of log
        self.flushed = sealing.sealed  # what is sealed up to this LSN is on the disk
        self._at = 0  # bytes of log when the last flush began
        self._upto = 0  # the LSN that the flush under way makes durable
        self._thread: threading.Thread | None = None
        self._succeeded = False

    @property
    def due(self) -> bool:
        """Whether a flush is worth it."""
        return self._sealing.sealed > self.flushed and self._log.bytes - self._at >= self._worth

    def begin(self) -> None:
        """Flush on a thread, unless one is under way or there is nothing to flush."""
        if self._thread is not None or self._sealing.sealed <= self.flushed:
            return
        self._upto, self._at = self._sealing.sealed, self._log.bytes
        self._succeeded = False
        thread = threading.Thread(target=self._flush, name="timeline-flush", daemon=True)
        thread.start()  # before others can see it, who wait for it
        self._thread = thread

    def _flush(self) -> None:
        with suppress(TimelineError):  # the storage keeps it
            self._storage.flush()
            self._succeeded = True

    def conclude(self) -> bool:
        """Note what the thread has done, if it has ended: whether more is flushed now."""
        if self._thread is None or self._thread.is_alive():
            return False
        self._thread = None
        if self._succeeded:
            self.flushed = max(self.flushed, self._upto)
        return self._succeeded

    def flush(self) -> None:
        """Flush here, and return when it is done. Without the engine's lock."""
        self.wait()
        upto = self._sealing.sealed
        self._storage.flush()
        self.flushed = max(self.flushed, upto)

    def wait(self) -> None:
        """Return when no flush is under way. Without the engine's lock."""
        thread = self._thread
        if thread is not None:
            thread.join()
