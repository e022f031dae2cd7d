"""The clock, which tests of the log-structured merge turn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.stores import Clock, small_steps


@pytest.fixture
def clock() -> Iterator[Clock]:
    with Clock().installed() as clock, small_steps():
        yield clock
