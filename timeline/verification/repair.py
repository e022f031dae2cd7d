"""Repair: another store, made of what is whole in a damaged one.

    copy      copy every row that can be read, and the records of the log up to its first damage
    replay    open the copy, so that commits which are only in the log are applied and sealed
    mend      verify the copy and write the rows that findings propose, until nothing is found

Rule: the damaged store is only read, through a shadow. The new store is built next to its target
and moved there when it is whole, so an interrupted repair leaves nothing. The new store has an
epoch of its own: devices start over instead of missing messages. A store of format 1 becomes one of
the present format.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Final

from timeline.engine.engine import Engine
from timeline.engine.store.directory import (
    LOG as LOG_FILES,
    ROCKS,
    STORE_KEY,
    has_gone,
    no_store,
)
from timeline.engine.store.upgrade import append_copies
from timeline.errors import CorruptError, NotFoundError, StorageError, UsageError, reason
from timeline.formats import keys
from timeline.formats.rows import (
    FORMAT,
    ProgressRow,
    StoreRow,
    decode_progress,
    encode_progress,
    encode_store,
)
from timeline.log.log import CommitLog
from timeline.lsm.upkeep.sealing import PROGRESS_KEY
from timeline.options import Options, anchored
from timeline.storage.files import seclude, sole
from timeline.storage.rocks import FAMILIES, META, Storage
from timeline.verification.checks.names import check_names
from timeline.verification.checks.records import check_log
from timeline.verification.exchange import BUILDING, exchange, is_interrupted, resume
from timeline.verification.snapshot.affected import affected, may_lose
from timeline.verification.snapshot.commits import run_from
from timeline.verification.snapshot.exclusive import held, rocks_held
from timeline.verification.snapshot.findings import FILES, LOG, Finding, Put, Report
from timeline.verification.snapshot.readable import readable, reckoned
from timeline.verification.snapshot.snapshot import Snapshot
from timeline.verification.snapshot.walk import LAST, walk
from timeline.verification.verify import check

Step = Callable[[str], None]

_MOST_ROUNDS: Final = 12  # of verifying and mending
_BATCH_ROWS: Final = 1_000  # copied in one write


@dataclass(slots=True)
class Repair:
    """What was wrong, what was mended, and what is left, which should be nothing.

    `kept` is where a repair in place put the damaged files.
    """

    found: list[Finding] = field(default_factory=list)
    mended: list[Finding] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    entries: int = 0
    applied: int = 0
    kept: Path | None = None

    @property
    def lost(self) -> list[Finding]:
        """The findings whose content is gone for good, each once."""
        return [each for each in self._each() if each.lost]

    @property
    def remade(self) -> list[Finding]:
        """The findings that cost nothing: the repair made the rows again, or did not need them."""
        return [each for each in self._each() if not each.lost]

    def _each(self) -> list[Finding]:
        unique = {
            (each.family, each.timeline, each.number, each.text): each
            for each in (*self.found, *self.mended)
        }
        return list(unique.values())


def repair(
    path: str | os.PathLike[str], to: str | os.PathLike[str], *, step: Step | None = None
) -> Repair:
    """Make a store at `to`, which must not exist yet, of what is whole in the store at `path`.

    `step` hears the name of each step. Raises `NotFoundError`, `UsageError`, `LockedError`,
    `StorageError`.
    """
    source, target = anchored(path), anchored(to)
    _require(source)
    if is_interrupted(source):
        raise UsageError(
            f"a repair in place of {source} was interrupted: have it done first with `timeline "
            "repair --in-place`"
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} exists already: name a new directory")
    building = target.with_name(f"{target.name}.{BUILDING}")
    with held(source), rocks_held(source), _scaffold(building, target):
        result = _build(source, building, step or _silent)
        seclude(building)
        building.replace(target)
    return result


def repair_in_place(path: str | os.PathLike[str], *, step: Step | None = None) -> Repair:
    """Replace the store at `path` by what is whole in it. Raises what `repair` raises.

    The damaged files stay next to it, in `rocks.damaged` and `log.damaged`, so this needs as much
    room again.
    """
    source = anchored(path)
    _require(source)
    building = source / BUILDING
    with held(source):
        resume(source)
        with rocks_held(source), _scaffold(building, source):
            result = _build(source, building, step or _silent)
            seclude(building)
            result.kept = exchange(source)
    return result


def _silent(_: str) -> None:
    pass


def _require(source: Path) -> None:
    if not (source / ROCKS).is_dir() and not has_gone(source):
        raise no_store(source)


@contextmanager
def _scaffold(building: Path, target: Path) -> Iterator[None]:
    """Have the directory `building` to make `target` in. What is left of it afterwards is
    removed.
    """
    try:
        with sole(building, target):
            yield
    except OSError as error:
        raise StorageError(f"the repaired store cannot be written: {reason(error)}") from error


def _build(source: Path, building: Path, step: Step) -> Repair:
    result = Repair()
    step("looking for damage")
    with _salvageable(source) as snapshot:
        result.found += snapshot.findings
        result.found += check(snapshot, Report())
    step("copying what is whole")
    with _salvageable(source, replay=False) as snapshot:
        _copy(snapshot, building)
    _write(building, _first_fixes(building))
    step("applying the log")
    _replay(building, result)
    for _ in range(_MOST_ROUNDS):
        step("mending")
        with Snapshot(building) as snapshot:
            report = Report()
            result.left = [*snapshot.findings, *check(snapshot, report)]
        result.entries, result.applied = report.entries, report.applied
        if not any(finding.fix for finding in result.left):
            break
        _write(building, result.left)
        result.mended += result.left
    return result


@contextmanager
def _salvageable(source: Path, *, replay: bool = True) -> Iterator[Snapshot]:
    """A snapshot in which every family can be read to its end. Where RocksDB cannot do that with
    the files as they are, it makes a database of those that it can read.
    """
    snapshot = _open(source, replay=replay)
    try:
        yield snapshot
    finally:
        snapshot.close()


def _open(source: Path, *, replay: bool) -> Snapshot:
    try:
        snapshot = Snapshot(source, replay=replay)
    except (StorageError, CorruptError, NotFoundError):
        return Snapshot(source, rebuild=True, replay=replay)
    blind: dict[str, Finding] = {}

    def note(start: bytes, stop: bytes | None, text: str) -> None:
        if stop is None:  # nothing can be read to the end of the family
            text = f"{snapshot.shadow.unveiled(text)}; {affected(snapshot, family, start, stop)}"
            blind[family] = Finding(FILES, text, lost=may_lose(family))

    for family in snapshot.families:
        for _ in walk(snapshot.storage, family, b"", LAST, note):
            pass
    if not blind:
        return snapshot
    snapshot.close()
    rebuilt = Snapshot(source, rebuild=True, replay=replay)
    rebuilt.findings += blind.values()
    return rebuilt


def _copy(snapshot: Snapshot, building: Path) -> None:
    storage = Storage(building / ROCKS, Options())
    try:
        batch = storage.batch()
        for family in FAMILIES:
            for key, value in snapshot.pairs(family):
                if readable(family, key, value):
                    batch.put(family, key, value)
                if len(batch) >= _BATCH_ROWS:
                    storage.write(batch)
                    batch = storage.batch()
        storage.write(batch)
        sealed = _give_beginning(storage, snapshot)
        storage.flush()
    finally:
        storage.close()
    _copy_log(snapshot, sealed, building / LOG_FILES)


def _give_beginning(storage: Storage, damaged: Snapshot) -> int:
    """Write what the store says of itself, made again where it is lost. Returns the sealed LSN."""
    stored = storage.get(META, PROGRESS_KEY)
    progress: ProgressRow | None = None if stored is None else decode_progress(stored)
    better = reckoned(storage, progress, damaged.marked, damaged.commits.runs)
    batch = storage.batch()
    batch.put(META, PROGRESS_KEY, encode_progress(better))
    batch.put(META, STORE_KEY, encode_store(StoreRow(FORMAT, damaged.epoch or 1)))
    storage.write(batch)
    return better.sealed


def _copy_log(snapshot: Snapshot, sealed: int, target: Path, upto: int = keys.MAX) -> None:
    """Write the unbroken run of records that leads on from LSN `sealed`, up to LSN `upto`, as a log
    at `target`.
    """
    run = run_from(snapshot.commits.runs, sealed)
    if run is None:
        return
    after, size = run.first - 1, Options().log_file_bytes
    log = CommitLog(target, file_bytes=size, epoch=snapshot.epoch or 1, after=after, marked=0)
    records = snapshot.commits.records(run, after)
    try:
        append_copies(log, takewhile(lambda record: record.last <= upto, records))
    finally:
        log.close()


def _first_fixes(building: Path) -> list[Finding]:
    """The findings to mend before the log can be applied."""
    with Snapshot(building, replay=False) as snapshot:
        return [*check_log(snapshot), *check_names(snapshot)]


def _replay(building: Path, result: Repair) -> None:
    """Apply and seal what is only in the log. Drop it where it cannot be applied."""
    problem = _opened(building)
    if not problem:
        return
    result.mended.append(Finding(LOG, f"what was only in the log is lost: {problem}", lost=True))
    shorter = building / f"{LOG_FILES}.shorter"
    with Snapshot(building, replay=False) as snapshot:
        progress = snapshot.progress
        reached = max(progress.sealed, progress.upto)
        _copy_log(snapshot, reached, shorter, reached)
    shutil.rmtree(building / LOG_FILES, ignore_errors=True)
    if shorter.exists():
        shorter.rename(building / LOG_FILES)
    better = encode_progress(progress._replace(sealed=reached, upto=0))
    _write(building, [Finding(META, "", fix=(Put(META, PROGRESS_KEY, better),))])
    problem = _opened(building)
    if problem:
        raise CorruptError(f"what is whole does not make a store: {problem}")


def _opened(building: Path) -> str:
    """Open the store, which applies and seals its log, and close it. Returns why that fails, or an
    empty text.
    """
    try:
        Engine(building, Options(create=False, new_epoch=True)).close()
    except CorruptError as error:
        return str(error)  # only the text: the error holds on to the engine
    return ""


def _write(building: Path, findings: list[Finding]) -> None:
    """Write the rows that findings propose. Of several for one row the first counts."""
    wanted: dict[tuple[str, bytes], bytes | None] = {}
    for finding in findings:
        for family, key, value in finding.fix:
            wanted.setdefault((family, key), value)
    storage = Storage(building / ROCKS, Options(create=False))
    try:
        batch = storage.batch()
        for (family, key), value in wanted.items():
            if value is None:
                batch.delete(family, key)
            else:
                batch.put(family, key, value)
        storage.write(batch)
        storage.flush()
    finally:
        storage.close()
