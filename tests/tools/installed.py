"""`timeline` as a person runs it: `start` starts the installed program, `run` forks it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import forked

PROGRAM = str(Path(sys.executable).parent / "timeline")

Ran = subprocess.CompletedProcess[bytes]


def run(*words: str | Path, stdin: bytes = b"", largest: int | None = None) -> Ran:
    """No file that it writes may be larger than `largest` bytes."""
    return forked.run("timeline", *words, stdin=stdin, largest=largest)


def start(*words: str | Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [PROGRAM, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def done(*words: str | Path, stdin: bytes = b"") -> str:
    """What it printed, having done it."""
    ran = run(*words, stdin=stdin)
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout.decode()


def refused(*words: str | Path, status: int = 1, stdin: bytes = b"") -> str:
    """The one line in which it was refused."""
    ran = run(*words, stdin=stdin)
    problem = ran.stderr.decode()
    assert ran.returncode == status, (ran.returncode, ran.stdout, problem)
    assert ran.stdout == b""
    assert "Traceback" not in problem
    assert problem.splitlines()[-1].startswith("Error: ")
    if status == 1:
        assert len(problem.splitlines()) == 1, problem
        assert problem.startswith("Error: ")
    return problem


def names(path: Path) -> list[str]:
    """What a directory holds, hidden files too."""
    return sorted(each.name for each in path.iterdir())


def same(path: Path, other: Path) -> Any:  # noqa: ANN401  for assert to show
    """Whether two exports hold the same, less the epoch in the header and the checksum."""
    one, two = path.read_bytes().splitlines(), other.read_bytes().splitlines()
    return len(one) == len(two) and one[1:-1] == two[1:-1]
