"""What a measurement came to: as a table, as JSON with every run, and as a picture.

Rule: losses are shown like gains, and the machine is named beside the figures.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Final

from matplotlib.figure import Figure

from bench.pairs import Comparison, Run

HEADINGS: Final = ("work", "peer", "ours", "ratio", "lowest to highest", "CPU each: peer", "ours")


def cells(row: Comparison) -> tuple[str, ...]:
    """One row of the table, by `HEADINGS`."""
    return (
        row.work,
        _rate(row.peer),
        _rate(row.ours),
        f"{row.ratio:.2f}",
        f"{min(row.ratios):.2f} to {max(row.ratios):.2f}",
        _cpu(row.peer),
        _cpu(row.ours),
    )


def line(row: Comparison) -> str:
    """One row while the others are still being measured."""
    work, peer, ours, ratio, span, peer_cpu, our_cpu = cells(row)
    return f"{work}: {ratio} ({span}); {ours} to {peer}; CPU {our_cpu} to {peer_cpu}"


def table(rows: Sequence[Comparison]) -> str:
    """A Markdown table, aligned for reading as it is."""
    lines = [HEADINGS, *map(cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| "
        + " | ".join(text.ljust(width) for text, width in zip(each, widths, strict=True))
        + " |"
        for each in (lines[0], rule, *lines[1:])
    )


def machine() -> dict[str, str | int | float]:
    """Where this was measured, fsync included, since both sides wait for it."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "redis": subprocess.run(
            ["redis-server", "--version"], capture_output=True, text=True, check=True
        )
        .stdout.split()[2]
        .removeprefix("v="),
        "fsync_us": round(_fsync_us()),
    }


def write(rows: Sequence[Comparison], title: str, directory: Path, name: str) -> list[Path]:
    """Write `name`.json and `name`.png into `directory`; what was written."""
    directory.mkdir(parents=True, exist_ok=True)
    where = machine()
    data = directory / f"{name}.json"
    content = {
        "title": title,
        "measured": time.strftime("%Y-%m-%d"),
        "machine": where,
        "rows": [asdict(row) | {"ratio": row.ratio, "ratios": row.ratios} for row in rows],
    }
    data.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    picture = directory / f"{name}.png"
    _draw(rows, title, where, picture)
    return [data, picture]


def _draw(
    rows: Sequence[Comparison], title: str, where: dict[str, str | int | float], path: Path
) -> None:
    figure = Figure(figsize=(9, 1.6 + 0.4 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = range(len(rows))
    ratios = [row.ratio for row in rows]
    spans = [
        [row.ratio - min(row.ratios) for row in rows],
        [max(row.ratios) - row.ratio for row in rows],
    ]
    colours = ["#2a7f62" if ratio >= 1 else "#b5523b" for ratio in ratios]
    axes.barh(places, ratios, xerr=spans, color=colours, ecolor="#888888", height=0.6)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_yticks(places, [row.work for row in rows])
    axes.invert_yaxis()
    for place, row in zip(places, rows, strict=True):
        axes.text(0.02, place, f"{row.ratio:.2f}", va="center", color="white", weight="bold")
    axes.set_xlabel("commands a second, ours through the peer's: median, lowest and highest pair")
    figure.supxlabel(
        f"{where['processor']}, {where['cores']} cores; redis {where['redis']}, "
        f"Python {where['python']}; one fsync {where['fsync_us']} µs",
        fontsize="small",
    )
    axes.set_title(title)
    figure.savefig(path, dpi=120)


def _rate(runs: Sequence[Run]) -> str:
    return f"{median(run.per_second for run in runs) / 1000:.1f} k/s"


def _cpu(runs: Sequence[Run]) -> str:
    return f"{median(run.cpu_us for run in runs):.1f} µs"


def _processor() -> str:
    for text in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if text.startswith("model name"):
            return text.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _fsync_us() -> float:
    """Median of 200 appends of 10 KiB, each synced."""
    took = []
    with tempfile.TemporaryFile() as file:
        for _ in range(200):
            file.write(b"\0" * 10_240)
            file.flush()
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - start)
    return median(took) * 1e6
