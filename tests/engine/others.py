"""What another process says when it opens a store."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

import timeline
from tests.forked import CONTEXT
from timeline.errors import TimelineError


def opening(path: Path) -> str:
    """`opened`, or why it is not."""
    said, says = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_open, args=(path, says), daemon=True)
    process.start()
    says.close()
    try:
        return str(said.recv())
    finally:
        said.close()
        process.join()


def _open(path: Path, says: Connection) -> None:
    try:
        timeline.open(path, search=False).close()
    except TimelineError as error:
        says.send(str(error))
    else:
        says.send("opened")
