"""A shadow: a directory of links to the files of RocksDB in a store, through which it is read.

Rule: not a byte of the store changes. RocksDB may write next to the files that it opens, even for
reading; here it writes into the shadow. So the store may lie on a disk that is read only, and
another process may have it open. Its files are only appended to or removed, and a file stays
readable while it is open.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from timeline.storage.scratch import Scratch

_COPIED = ("rocksdict-config.json", "IDENTITY")  # an opening writes to them
_LEFT_OUT = ("LOCK", "LOG")


class Shadow:
    def __init__(self, rocks: Path) -> None:
        self._rocks = rocks
        self._own = Scratch()
        self.path = self._own.path / rocks.name
        try:
            self.path.mkdir()
            for file in rocks.iterdir() if rocks.is_dir() else ():
                if file.name in _COPIED:
                    shutil.copyfile(file, self.path / file.name)
                elif file.name not in _LEFT_OUT and not file.name.startswith("LOG.old"):
                    self._own.show(rocks, file.name, rocks.name)
        except BaseException:
            self.close()
            raise

    def unveiled(self, text: str) -> str:
        """The text with the files of the store in place of those of the shadow."""
        return text.replace(str(self.path), str(self._rocks)).strip()

    def dangling(self) -> list[str]:
        """RocksDB's write-ahead logs that were removed since the links were made."""
        return [file.name for file in self.path.glob("*.log") if not file.exists()]

    def close(self) -> None:
        self._own.remove()
