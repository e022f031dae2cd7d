"""A store of feeds as callers have it: embedded, and over the wire.

A module names the options of its stores in `OPTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from tests.feeds.doors import Door, EmbeddedFeeds, WireFeeds
from tests.messaging.promises import Own


@pytest.fixture(scope="module", params=[EmbeddedFeeds, WireFeeds], ids=["embedded", "wire"])
def door(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Door]:
    """One for all tests of a module."""
    opened = request.param(tmp_path_factory.mktemp("feeds") / "store", **request.module.OPTIONS)
    yield opened
    opened.close()


_numbers = count(1)


@pytest.fixture
def own() -> Own:
    """Turns a name into one that no other test uses."""
    number = next(_numbers)
    return lambda name: f"{name}-{number}"


@pytest.fixture(params=["nothing", "restart", "kill"])
def disturb(request: pytest.FixtureRequest) -> Callable[[Door], None]:
    """Something that must change no answer."""

    def act(door: Door) -> None:
        if request.param != "nothing":
            getattr(door, request.param)()

    return act
