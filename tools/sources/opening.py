"""The source that was named on the command line: the directory or the daemon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from timeline.options import Options

from .daemon import Daemon
from .directory import Directory
from .source import Source
from .wire import Wire


@contextmanager
def source_of(
    directory: Path | None, daemon: Wire | None, options: Options | None = None
) -> Iterator[Source]:
    """The daemon if one is given, else the directory, opened read-only. Without `options` it is
    opened without its index.
    """
    if daemon is not None:
        yield Daemon(daemon)
        return
    assert directory is not None
    with Directory(directory, options) as opened:
        yield opened
