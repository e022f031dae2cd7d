"""Standard streams and the files of a store.

Rule: no file of a store is ever opened on descriptor 0, 1 or 2. Where one of these is closed, the
next file gets its number, and whatever the process prints then goes into that file. SQLite guards
its files the same way.
"""

from __future__ import annotations

import os
from typing import Final

_LAST: Final = 2  # standard error


def keep_standard() -> None:
    """Have descriptors 0 to 2 lead to nowhere where they are closed. Call it before a file of the
    store is opened.
    """
    while (made := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= _LAST:
        pass
    os.close(made)
