"""A temporary directory, for what a library must write while it only reads for us.

Rule: it is there until `remove`, or until nothing refers to it any more. Then it is gone, also when
Ctrl-C comes while it is removed.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from timeline.errors import StorageError, reason


class Scratch:
    def __init__(self) -> None:
        """Raises `StorageError` when none can be made."""
        try:
            self._directory = TemporaryDirectory(prefix="timeline-", ignore_cleanup_errors=True)
        except OSError as error:
            raise StorageError(
                f"no temporary directory can be made ({reason(error)}): set TMPDIR"
            ) from error
        self.path = Path(self._directory.name)

    def show(self, source: Path, name: str, folder: str) -> Path:
        """Link file `name` of `source` into `folder` here, if it is not yet; returns the folder.
        Raises `StorageError`.
        """
        shown = self.path / folder
        try:
            shown.mkdir(exist_ok=True)
            if not (shown / name).is_symlink():
                (shown / name).symlink_to((source / name).absolute())
        except OSError as error:
            raise StorageError(f"{shown} cannot be written: {reason(error)}") from error
        return shown

    def remove(self) -> None:
        try:
            self._directory.cleanup()
        except BaseException:
            self._directory.cleanup()
            raise
