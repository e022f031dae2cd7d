"""A store of conversations as callers have it: embedded, and over the wire.

A module names the options of its stores in `OPTIONS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.engine.stores import Clock
from tests.messaging.doors.door import Door
from tests.messaging.doors.embedded import EmbeddedDoor
from tests.messaging.doors.wire import WireDoor
from tests.messaging.promises import DISTURBANCES, Own, Restart


@pytest.fixture(scope="module", params=[EmbeddedDoor, WireDoor], ids=["embedded", "wire"])
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Door]:
    """One for all tests of a module."""
    door = request.param(tmp_path_factory.mktemp("opened") / "store", **request.module.OPTIONS)
    yield door
    door.close()


@pytest.fixture(params=[EmbeddedDoor, WireDoor], ids=["embedded", "wire"])
def door(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Door]:
    """One for one test."""
    door = request.param(tmp_path / "store", **request.module.OPTIONS)
    yield door
    door.close()


@pytest.fixture
def clock() -> Iterator[Clock]:
    with Clock().installed() as clock:
        yield clock


_numbers = count(1)


@pytest.fixture
def own() -> Own:
    """Turns a name into one that no other test uses."""
    number = next(_numbers)
    return lambda name: f"{name}-{number}"


@pytest.fixture(params=list(DISTURBANCES))
def disturb(request: pytest.FixtureRequest) -> Restart:
    """Something that must change no answer."""
    return DISTURBANCES[request.param]
