"""How stores are opened here: the owner's options, and the reader's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import timeline
from tests.engine.stores import (
    SMALL,
)

INLINE = replace(SMALL, fsync="inline")


def opened(path: Path) -> timeline.Database:
    return timeline.open(path, SMALL, read_only=True)


def newest_file(path: Path) -> Path:
    return max((path / "log").glob("*.log"))
