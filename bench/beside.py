"""A program that compares works with Redis, pair by pair, and then measures ours alone.

Rule: each work gets two new servers. What is measured alone gets one, which all its parts share.
What was measured is printed as it comes, then as a table, and written as files.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import report
from bench.pairs import Comparison
from bench.servers import Server, missing_programs, start_redis, start_timelined

Compare = Callable[[Server, Server, int], Comparison]  # peer, ours, how many pairs
Alone = Callable[[Server], Iterator[tuple[str, dict[str, float]]]]


def run(
    name: str, text: str | None, title: str, works: Sequence[Compare], alone: Sequence[Alone]
) -> None:
    """The program `python -m bench.<name>`, described by `text`."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=text)
    parser.add_argument("--pairs", type=int, default=5, help="runs of each side (default 5)")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), metavar="DIR")
    arguments = parser.parse_args()
    if missing := missing_programs():
        print(f"skipped: {' and '.join(missing)} not found (Debian: redis-server, redis-tools)")
        return
    rows = []
    for work in works:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            for side in ("peer", "ours"):
                (directory / side).mkdir()
            peer = stack.enter_context(start_redis(directory / "peer"))
            ours = stack.enter_context(start_timelined(directory / "ours"))
            rows.append(work(peer, ours, arguments.pairs))
        print(report.line(rows[-1]), flush=True)
    figures: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        ours = stack.enter_context(start_timelined(Path(scratch)))
        for part in alone:
            for what, found in part(ours):
                figures[what] = found
                print(what, found, flush=True)
    print("\n" + report.table(rows))
    for path in report.write(rows, title, arguments.out, name):
        print(f"written: {path}")
    target = arguments.out / f"{name}-alone.json"
    target.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    print(f"written: {target}")
