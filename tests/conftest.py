"""What tests of every folder share: options of the long modes, without which every test runs its
short one, and a disk that can be filled.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disks import small_disk as mounted
from timeline.options import MIB


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("timeline")
    group.addoption(
        "--model-examples",
        type=int,
        default=60,
        metavar="N",
        help="how many histories the state machines of the engine try",
    )
    group.addoption(
        "--kill-rounds",
        type=int,
        default=12,
        metavar="N",
        help="how often the kill -9 loops kill",
    )
    group.addoption(
        "--crash-point-stride",
        type=int,
        default=5,
        metavar="N",
        help="fail the engine at every N-th of its calls to the disk; 1 is every one",
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 48 MiB."""
    with mounted(tmp_path / "disk", 48 * MIB) as path:
        yield path


@pytest.fixture
def model_examples(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--model-examples"))


@pytest.fixture
def kill_rounds(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--kill-rounds"))


@pytest.fixture
def crash_point_stride(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--crash-point-stride"))
