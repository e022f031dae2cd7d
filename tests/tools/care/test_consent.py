"""The promise: nothing is removed for good before somebody agreed."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.tools.installed import PROGRAM, done, refused


@pytest.mark.parametrize("of", ["a directory", "a daemon"])
def test_nothing_goes_before_somebody_said_so(
    of: str, store: Path, request: pytest.FixtureRequest
) -> None:
    where = [str(store)]
    if of == "a daemon":
        daemon = request.getfixturevalue("daemon")
        where = ["--connect", f"127.0.0.1:{daemon.port}"]
    length = int(json.loads(done("inspect", *where, "sensor:2", "--json"))["length"])
    few = ("sensor:2", "--max-length", "10")
    for words in (("trim", *where, "sensor:2", "--length", "10"), ("retention", *where, *few)):
        said = (
            f"{length - 10:,} entries of sensor:2 will be removed, for good: say --yes to do it\n"
        )
        assert refused(*words).endswith(said)
        assert said in refused(*words, "--json")
        assert done(*words, "--dry-run") == f"{length - 10:,} entries would be removed\n"
        assert json.loads(done(*words, "--dry-run", "--json"))["would_remove"] == length - 10
        if of == "a directory":
            answered, shown = on_terminal(words, "n")
            assert answered == 1
            assert f"{length - 10:,} entries of sensor:2 will be removed, for good. Go on?" in shown
            assert "nothing was changed" in shown
    assert done("retention", *where, "sensor:2") == "sensor:2: everything is kept\n"
    assert json.loads(done("inspect", *where, "sensor:2", "--json"))["length"] == length
    # Where nothing would go, nobody is asked.
    assert "0 entries" in done("trim", *where, "sensor:2", "--length", str(length))
    assert "kept" in done("retention", *where, "sensor:2", "--max-length", str(length))
    if of == "a directory":
        answered, shown = on_terminal(("trim", *where, "sensor:2", "--length", "10"), "y")
        assert (answered, f"{length - 10:,} entries were removed" in shown) == (0, True)


def on_terminal(words: Sequence[str], answer: str) -> tuple[int, str]:
    """The status and what it shows on a terminal, where the question is answered so."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([PROGRAM, *words], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    shown = b""
    with suppress(OSError):  # which is how it ends
        while part := os.read(ours, 1 << 16):
            shown += part
    os.close(ours)
    return process.wait(), " ".join(shown.decode().split())
