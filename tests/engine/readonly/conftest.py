"""A directory in memory, and a live store with a log of several files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.engine.readonly.opening import INLINE
from tests.engine.stores import (
    Clock,
    abandon,
    small_steps,
)
from tests.engine.twin import Twin, scenario


@pytest.fixture
def twin(directory: Path) -> Iterator[Twin]:
    """A live store with a log of several files, of which the newest commits are not sealed."""
    options = replace(INLINE, write_buffer_bytes=2**25, log_file_bytes=4_096)
    with Clock().installed() as clock, small_steps():
        twin = Twin(directory / "store", options, clock)
        for step in scenario(30, 21):
            if step[0] not in ("drop", "compact"):
                twin.do(step)
        for number in range(30):
            twin.do(("append", b"a", b"new %d" % number))
        yield twin
        abandon(twin.db)
