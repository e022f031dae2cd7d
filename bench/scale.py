"""A store of a million timelines: what it costs to fill, to keep in memory, to open, to store.

Run by `python -m bench.scale` (minutes, and some gigabytes of disk); smaller with `--timelines`.
Each step is a process of its own, so that its memory is its own: fill and close, open, read,
compact, read, append at full speed until killed, open again. Everything is fsynced; options are the
defaults.

To read is to take the newest ten entries of a timeline, of many at random: cold, with nothing in
the caches of the system or of ours, and the same ones again, warm.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

import timeline
from timeline.admin import compact as compaction
from timeline.engine.engine import Engine
from timeline.options import MIB, Options

_RUN: Final = 1_000  # entries staged together, one group
_WORDS: Final = 5_000
_PAGE: Final = 10_000  # texts made together
_KILL_SECONDS: Final = 10.0
_READS: Final = 2_000
_PAGE_ENTRIES: Final = 10


def texts(seed: int) -> Iterator[bytes]:
    """Chat-like messages of some 60 bytes: words as frequent as in a language (Zipf)."""
    draw = np.random.default_rng(seed)
    letters = list("etaoinshrdlucmfwypvbgk")
    words = ["".join(draw.choice(letters, draw.integers(2, 10))) for _ in range(_WORDS)]
    frequency = 1 / np.arange(1, _WORDS + 1)
    limits = np.cumsum(frequency / frequency.sum())
    while True:
        counts = draw.integers(3, 18, _PAGE).tolist()
        chosen = np.searchsorted(limits, draw.random(sum(counts))).tolist()
        start = 0
        for count in counts:
            stop = start + count
            yield " ".join([words[min(each, _WORDS - 1)] for each in chosen[start:stop]]).encode()
            start = stop


def append(
    engine: Engine, names: list[bytes], message: Iterator[bytes], count: int
) -> tuple[int, float]:
    """Append `count` messages to random timelines, a group at a time; their bytes, and the seconds
    that the engine took.
    """
    source = random.Random(os.getpid())
    size = 0
    seconds = 0.0
    for _ in range(0, count, _RUN):
        chosen = source.choices(names, k=_RUN)
        values = [next(message) for _ in range(_RUN)]
        size += sum(map(len, values))
        done = 0
        begin = time.perf_counter()
        with engine.lock:
            while done < _RUN:
                columns = [[b"text"] * (_RUN - done), values[done:]]
                done += len(engine.appender.append_run(chosen[done:], columns))
                if done < _RUN:  # it does not exist
                    engine.appender.append(chosen[done], [b"text", values[done]])
                    done += 1
        while not engine.flush():
            time.sleep(0.001)
        while (
            engine.work(0.001) and engine.store.memtable.size > engine.options.unsealed_bytes // 2
        ):
            pass
        seconds += time.perf_counter() - begin
    return size, seconds


def resident(pid: int | str = "self", line: str = "VmRSS") -> int:
    """Memory of a process in bytes."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(status.split(f"{line}:")[1].split()[0]) * 1024


def names_of(count: int) -> list[bytes]:
    return [b"room:%d" % number for number in range(count)]


def fill(path: Path, timelines: int, entries: int) -> None:
    before = resident()
    names = names_of(timelines)
    listed = resident() - before  # the list of names is the benchmark's
    engine = Engine(path, Options(fsync="inline"))
    begin = time.perf_counter()
    for start in range(0, timelines, _RUN):
        with engine.lock:
            for name in names[start : start + _RUN]:
                engine.appender.append(name, [b"text", b"the first message of this room"])
        engine.flush()
    made = time.perf_counter()
    size, took = append(engine, names, texts(1), entries - timelines)
    memory = resident() - listed
    engine.close()
    raw = size + 30 * timelines
    print(f"made {timelines / (made - begin):,.0f} timelines/s")
    print(f"appended {(entries - timelines) / took:,.0f} entries/s to timelines at random")
    print(f"resident {memory / MIB:.0f} MiB at the end, at most {resident(line='VmHWM') / MIB:.0f}")
    print(f"wrote {written() / raw:.1f} bytes to the disk for each byte of a message")
    print(f"raw {raw}", flush=True)


def reopen(path: Path) -> None:
    begin = time.perf_counter()
    engine = Engine(path, Options(fsync="inline"))
    took = time.perf_counter() - begin
    print(f"opened in {took:.2f} s, {resident() / MIB:.0f} MiB resident", flush=True)
    engine.close()


def written() -> int:
    """Bytes that this process has had written to the disk, log and compactions included."""
    return int(Path("/proc/self/io").read_text("ascii").split("\nwrite_bytes: ")[1].split()[0])


def read(path: Path, timelines: int) -> None:
    for file in path.rglob("*.sst"):
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    chosen = random.Random(4).sample(range(timelines), min(_READS, timelines // 10))
    with timeline.open(path, search=False) as db:
        for state in ("cold", "warm"):
            took = []
            for number in chosen:
                begin = time.perf_counter()
                page = list(db.timeline(f"room:{number}").range(reverse=True, limit=_PAGE_ENTRIES))
                took.append(time.perf_counter() - begin)
                assert page
            took.sort()
            middle, high = took[len(took) // 2], took[len(took) * 99 // 100]
            print(f"{state} page: median {middle * 1e6:.0f} µs, p99 {high * 1e6:.0f} µs", end="; ")
    print(f"{resident() / MIB:.0f} MiB resident", flush=True)


def overload(path: Path, timelines: int) -> None:
    engine = Engine(path, Options(fsync="inline"))
    names, message = names_of(timelines), texts(2)
    print("appending", flush=True)
    while True:
        append(engine, names, message, 10 * _RUN)


def compact(path: Path) -> None:
    engine = Engine(path, Options(fsync="inline"))
    begin = time.perf_counter()
    compaction.compact(engine)
    engine.close()
    print(f"compacted in {time.perf_counter() - begin:.0f} s", flush=True)


def disk(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def step(*words: object) -> str:
    """Run one step as a process of its own; what it printed."""
    command = [sys.executable, "-m", "bench.scale", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def kill_under_load(path: Path, timelines: int) -> None:
    command = [sys.executable, "-m", "bench.scale", "--step", "overload"]
    command += ["--path", str(path), "--timelines", str(timelines)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(_KILL_SECONDS)
        print(f"killed under full load, {resident(process.pid) / MIB:.0f} MiB resident")
        process.send_signal(signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--timelines", type=int, default=1_000_000)
    parser.add_argument("--entries", type=int, help="default: ten times the timelines")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    timelines = arguments.timelines
    entries = arguments.entries or 10 * timelines
    if arguments.step == "fill":
        fill(arguments.path, timelines, entries)
    elif arguments.step == "reopen":
        reopen(arguments.path)
    elif arguments.step == "read":
        read(arguments.path, timelines)
    elif arguments.step == "overload":
        overload(arguments.path, timelines)
    elif arguments.step == "compact":
        compact(arguments.path)
    else:
        run(timelines, entries)


def run(timelines: int, entries: int) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        path = Path(directory) / "store"
        where = ("--path", path, "--timelines", timelines, "--entries", entries)
        print(f"{timelines:,} timelines, {entries:,} entries", flush=True)
        said = step("--step", "fill", *where)
        told, _, raw = said.rpartition("raw ")
        print(told.strip())
        print(f"after a clean close: {step('--step', 'reopen', *where)}", flush=True)
        print(f"as filled, {step('--step', 'read', *where)}", flush=True)
        before = disk(path / "rocks")
        print(f"{step('--step', 'compact', *where)}: from {before / MIB:.0f} MiB", end=" ")
        print(
            f"to {disk(path / 'rocks') / MIB:.0f} MiB, "
            f"{disk(path / 'rocks') / int(raw):.2f} of the raw bytes; "
            f"the log takes {disk(path / 'log') / MIB:.0f} MiB besides",
            flush=True,
        )
        print(f"compacted, {step('--step', 'read', *where)}", flush=True)
        kill_under_load(path, timelines)
        print(f"after the kill: {step('--step', 'reopen', *where)}", flush=True)


if __name__ == "__main__":
    main()
