"""The next file of the log, made before it is needed.

Responsibility: keep one file of written zeros ready, on a thread that lives while it makes one.

Rule: the file has a temporary name until all its zeros are on the disk, so what is called `spare`
is whole, also after a kill, and is used by the next opening. A full disk is met here, while nothing
is in doubt: the failure is kept and raised to whoever needs the file, and then tried again.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from timeline.errors import StorageError, reason
from timeline.log.file import is_blank_file, make_file
from timeline.storage.files import sync_directory

NAME: Final = "spare"
_PARTIAL: Final = ".spare.partial"


class Spare:
    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self._directory = directory
        self._partial = directory / _PARTIAL
        self._ended = threading.Condition()  # guards what follows; told when a try has ended
        self._thread: threading.Thread | None = None
        self._failure: StorageError | None = None
        self._stopped = False
        self._partial.unlink(missing_ok=True)  # of a process that was killed
        self._size = 0
        if self.path.exists():
            if is_blank_file(self.path):
                self._size = self.path.stat().st_size
            else:  # it was being taken into use when the process was killed
                self.path.unlink()

    def want(self, size: int) -> None:
        """Have a file of at least `size` bytes made, unless there is one or one is being made."""
        with self._ended:
            if self._stopped or self._thread is not None or self._size >= size:
                return
            self._failure = None
            self._thread = threading.Thread(
                target=self._make, args=(size,), name="timeline-log", daemon=True
            )
            self._thread.start()

    def is_ready(self, size: int) -> bool:
        """Whether there is a file of at least `size` bytes; else one is being made from now on.
        Raises the `StorageError` that the last try met, which is tried again.
        """
        with self._ended:
            if self._thread is None and self._size >= size:
                return True
            failure, self._failure = self._failure, None
        self.want(size)
        if failure is not None:
            raise failure
        return False

    def name(self, target: Path) -> None:
        """Give the file its name in the log, durably: there is no spare one then."""
        try:
            self.path.rename(target)
            sync_directory(self._directory)
        except OSError as error:
            raise StorageError(f"{target} cannot be made: {reason(error)}") from error
        finally:
            self._size = 0

    def discard(self) -> None:
        """The file was written to and did not come into use: it is no spare one."""
        self._size = 0
        self.path.unlink(missing_ok=True)

    def wait(self) -> None:
        """Return when no file is being made."""
        with self._ended:
            self._ended.wait_for(lambda: self._thread is None)

    def close(self) -> None:
        """Stop making a file; one that is ready stays for the next opening."""
        with self._ended:
            self._stopped = True
            thread = self._thread
        if thread is not None:
            thread.join()

    def _make(self, size: int) -> None:
        made, failure = False, None
        try:
            made = make_file(self._partial, size, lambda: not self._stopped)
            if made:
                self._partial.rename(self.path)  # `name` makes its last name durable
        except StorageError as error:
            failure = error
        except OSError as error:
            failure = StorageError(f"{self.path} cannot be made: {reason(error)}")
        finally:
            with self._ended:
                self._thread = None
                self._failure = failure
                if made and failure is None:
                    self._size = size
                self._ended.notify_all()
