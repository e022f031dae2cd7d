"""The promise: a client of another language works unmodified: ioredis, from the npm registry.

It is installed once into the user's cache; where that cannot be done, the test says so and skips.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.server.daemon import Daemon

VERSION = "5.4.1"


@pytest.fixture(scope="module")
def modules() -> Path:
    """A folder with ioredis in its node_modules."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed (Debian: nodejs, npm)")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "timeline-tests" / f"ioredis-{VERSION}"
    if not (folder / "node_modules" / "ioredis" / "package.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(
                [
                    "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts",
                    "--prefix", folder, f"ioredis@{VERSION}",
                ],
                check=True,
                capture_output=True,
                timeout=100,
            )  # fmt: skip
        except subprocess.SubprocessError as problem:
            pytest.skip(f"ioredis {VERSION} cannot be installed from npm: {problem}")
    return folder


def test_ioredis_appends_reads_waits_and_commits(daemon: Daemon, modules: Path) -> None:
    program = Path(__file__).with_name("client.js")
    found = subprocess.run(
        ["node", program, str(daemon.port), modules],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.stdout.strip() == "done", found.stderr
