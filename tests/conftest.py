"""What tests of every folder share: options of the long modes, without which every test runs its
short one, where their files lie, and a disk that can be filled.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disks import small_disk as mounted
from tests.engine.stores import SHM
from timeline.options import MIB

ROOT = Path(__file__).parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("timeline")
    group.addoption(
        "--model-examples",
        type=int,
        default=40,
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
        default=7,
        metavar="N",
        help="fail the engine at every N-th of its calls to the disk; 1 is every one",
    )
    group.addoption(
        "--damage-cases",
        type=int,
        default=12,
        metavar="N",
        help="how many places of files are damaged",
    )
    group.addoption(
        "--differential-bursts",
        type=int,
        default=600,
        metavar="N",
        help="how many bursts of stream commands are compared with redis-server",
    )
    group.addoption(
        "--differential-seed",
        type=int,
        metavar="N",
        help="the seed of those, which a failure tells",
    )


def heed_signals() -> None:
    """Undo what a shell does to what it starts in the background, or `nohup`: a signal that is
    ignored stays so in every program that a test starts, and then it ends none of them.
    """
    for number, action in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGTERM, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, action)


heed_signals()


def pytest_configure(config: pytest.Config) -> None:
    refuse_other_files()
    write_to_memory(config)


def refuse_other_files() -> None:
    """Do not test what was compiled of other files than these."""
    library = sys.modules.get("timeline.native__mypyc")
    if library is None:
        return
    sums = Path(f"{library.__file__}.sha256")
    try:
        for line in sums.read_text("utf-8").splitlines():
            digest, name = line.split("  ")
            if hashlib.sha256((ROOT / name).read_bytes()).hexdigest() != digest:
                pytest.exit(f"{name} has changed since it was compiled: run `make compile`", 4)
    except OSError as error:
        pytest.exit(f"what is compiled here is of other files ({error}): run `make compile`", 4)


def write_to_memory(config: pytest.Config) -> None:
    """Put what tests write into memory, where it has room and programs may be run: they wait for
    more fsyncs than anything else, and no test can tell whether the disk did one. A kill cannot
    either; what a loss of power leaves is made by test_power_loss.py. TMPDIR chooses a disk.
    """
    if (
        "TMPDIR" not in os.environ
        and config.option.basetemp is None
        and SHM.is_dir()
        and os.access(SHM, os.W_OK)
        and not os.statvfs(SHM).f_flag & os.ST_NOEXEC
        and shutil.disk_usage(SHM).free > 4_096 * MIB
    ):
        os.environ["TMPDIR"] = tempfile.tempdir = str(SHM)


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


@pytest.fixture(scope="session")
def damage_cases(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--damage-cases"))
