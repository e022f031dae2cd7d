"""A store of format 1, and what is listed of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engine.formerlog.stores import NAME
from tests.engine.golden.stores import listed_in, unpack


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return unpack(NAME, tmp_path)


@pytest.fixture(scope="module")
def listed() -> dict[str, Any]:
    return listed_in(NAME)
