"""A shadow: a directory of links to the files of a store, through which it is read.

Rule: whoever opens RocksDB, even for reading, may write beside its files. Here that falls into the
shadow, so that not a byte of the store changes, nor need it lie on a disk that can be written to. A
store that another process has open may be shadowed too: its files are only ever appended to or
removed, and a file that is open stays readable.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from timeline.storage.scratch import Scratch

_COPIED = ("rocksdict-config.json", "IDENTITY")  # written when opened
_LEFT_OUT = ("LOCK", "LOG")


class Shadow:
    def __init__(self, rocks: Path) -> None:
        self._rocks = rocks
        self._own = Scratch()
        self.path = self._own.path / rocks.name
        try:
            self.path.mkdir()
            for file in rocks.iterdir():
                if file.name in _COPIED:
                    shutil.copyfile(file, self.path / file.name)
                elif file.name not in _LEFT_OUT and not file.name.startswith("LOG.old"):
                    self._own.show(rocks, file.name, rocks.name)
        except BaseException:
            self.close()
            raise

    def unveiled(self, text: str) -> str:
        """A text that names files of the shadow, naming those of the store."""
        return text.replace(str(self.path), str(self._rocks)).strip()

    def dangling(self) -> list[str]:
        """Names of logs that went since the links were made."""
        return [file.name for file in self.path.glob("*.log") if not file.exists()]

    def close(self) -> None:
        self._own.remove()
