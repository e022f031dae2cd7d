"""The last step of a repair in place: the new files take the place of the damaged ones.

    rocks                ->  rocks.damaged    from here on there is no store to open
    log                  ->  log.damaged
    repairing/log        ->  log
    repairing/rocks      ->  rocks            from here on it is the repaired store
    repairing/MARK       ->  MARK
    index                    goes: the next opening builds another

Rule: RocksDB and the log belong together. While they do not, `rocks` is not there, so no opening
takes the one with the other. The damaged files of one repair have the same number; the next repair
gives the next one. After a kill on the way `resume` undoes it. A kill before the last rename leaves
the former mark: where commits were lost the next opening refuses the store, and another repair
accepts that.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from timeline.engine.store.directory import LOG, MARK, ROCKS
from timeline.storage.files import sync_directory

BUILDING: Final = "repairing"
_DAMAGED: Final = "damaged"


def exchange(source: Path) -> Path:
    """Move the new files into place, and the damaged ones aside. Returns where those of RocksDB are
    now.
    """
    building = source / BUILDING
    kept = _Kept(source, _newest(source) + 1)
    try:
        for damaged, name in ((kept.rocks, ROCKS), (kept.log, LOG)):
            (source / name).mkdir(exist_ok=True)  # so that `resume` knows what was put aside
            (source / name).replace(damaged)
        (building / LOG).replace(source / LOG)
        sync_directory(source)
        (building / ROCKS).replace(source / ROCKS)
    except BaseException:
        resume(source)
        raise
    (building / MARK).replace(source / MARK)
    shutil.rmtree(source / "index", ignore_errors=True)
    sync_directory(source)
    return kept.rocks


def is_interrupted(source: Path) -> bool:
    """Whether a repair in place was killed while there was no store to open."""
    kept = _Kept(source, _newest(source))
    return (
        kept.rocks.exists()
        and not (source / ROCKS).exists()
        and (
            (source / BUILDING / ROCKS).exists()
            or not (kept.log.exists() and (source / LOG).exists())
        )
    )


def resume(source: Path) -> None:
    """Undo what a repair that was killed has begun."""
    if not is_interrupted(source):
        return
    kept = _Kept(source, _newest(source))
    if kept.log.exists():
        shutil.rmtree(source / LOG, ignore_errors=True)  # the new one, which is made again
        kept.log.replace(source / LOG)
    kept.rocks.replace(source / ROCKS)


class _Kept:
    """Where one repair puts the damaged files."""

    def __init__(self, source: Path, number: int) -> None:
        suffix = _DAMAGED if number <= 1 else f"{_DAMAGED}.{number}"
        self.rocks = source / f"{ROCKS}.{suffix}"
        self.log = source / f"{LOG}.{suffix}"


def _newest(source: Path) -> int:
    """The number of the last repair that put damaged files aside; 0 when none did."""
    numbers = [0]
    for name in (ROCKS, LOG):
        for path in source.glob(f"{name}.{_DAMAGED}*"):
            rest = path.name.removeprefix(f"{name}.{_DAMAGED}").removeprefix(".")
            if not rest or rest.isdecimal():
                numbers.append(int(rest or 1))
    return max(numbers)
