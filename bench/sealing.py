"""What sealing costs the slowest appends: their 99th percentile with it, and without.

Run by `python -m bench.sealing` (and by `make bench`). Two daemons are driven in turn with XADD of
100-byte texts to 5,000 keys from 50 connections. One may keep so little in memory that it seals all
the time; the other seals nothing as long as it runs.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from bench.pairs import compare
from bench.servers import Server, missing_programs, start_timelined
from bench.streams import append

ALWAYS: Final = ("--unsealed-bytes", "16MiB")  # a pass begins at half of it
NEVER: Final = ("--unsealed-bytes", "4GiB")
WORKS: Final = (append(1, 150_000), append(16, 500_000))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.sealing", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="runs of each side (default 5)")
    arguments = parser.parse_args()
    if missing := missing_programs():
        print(f"skipped: {' and '.join(missing)} not found (Debian: redis-server, redis-tools)")
        return
    for work in WORKS:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            never = stack.enter_context(start(directory / "never", NEVER))
            always = stack.enter_context(start(directory / "always", ALWAYS))
            rows = compare(work, never, always, arguments.pairs)
            if passes_of(never) or passes_of(always) < arguments.pairs:
                raise RuntimeError("sealing did not go as the options mean it to")
        without, with_it = ([run.p99_ms for run in side] for side in (rows.peer, rows.ours))
        ratio = median(ours / peer for peer, ours in zip(without, with_it, strict=True))
        print(
            f"{work.name}: p99 {median(without):.2f} ms without sealing, "
            f"{median(with_it):.2f} ms with it: {ratio:.2f}",
            flush=True,
        )


def start(directory: Path, options: tuple[str, ...]) -> Server:
    directory.mkdir()
    return start_timelined(directory, *options)


def passes_of(server: Server) -> int:
    """Passes of sealing that ended."""
    with server.connect() as client:
        return int(client.info()["sealing_passes"])


if __name__ == "__main__":
    main()
