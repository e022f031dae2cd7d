"""A snapshot: the store as an opening would find it, without changing it.

Responsibility: read the files of RocksDB through a shadow (`shadow`), apply the log above the
sealed LSN to memory as an opening does, and let checks read the store as its readers would.

Rule: damage does not end a snapshot. It is noted as a finding, and the rest is read.

    a row of META is damaged         a finding, and the snapshot goes on with a default
    a block of a family is damaged   its rows are passed over (`walk`)
    the log is damaged               its whole prefix is applied (`commits`)
    RocksDB cannot open the files    `CorruptError`; with `rebuild` it makes what it can of them

A daemon may have the store open. So the durable mark is read first, then RocksDB, then the log:
each reaches at least as far as the one before. Meanwhile the daemon may let go of a part of the
log. So what looks like damage of the log counts when it is found twice alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Self, TypeVar

from timeline.commit.replay import Replay
from timeline.engine.store.directory import (
    FORMER_FORMAT,
    LOG as LOG_FILES,
    MARK,
    ROCKS,
    STORE_KEY,
    has_gone,
    store_row,
)
from timeline.errors import CorruptError, NotFoundError, StorageError
from timeline.formats import keys
from timeline.formats.conversations import (
    ConversationRow,
    MemberRow,
    conversation_key,
    decode_conversation,
    decode_member,
    member_key,
)
from timeline.formats.feeds import (
    FeedRow,
    FollowRow,
    TieRow,
    decode_feed,
    decode_follow,
    decode_tie,
    feed_key,
    follow_key,
    tie_key,
)
from timeline.formats.numbers import NO_LSN, Lsn
from timeline.formats.rows import (
    FORMAT,
    ProgressRow,
    TimelineRow,
    decode_expiry,
    decode_progress,
    decode_row,
    encode_row,
)
from timeline.log.salvage import SalvagedFiles
from timeline.lsm.checkpoints import Checkpoints
from timeline.lsm.clock import Clock
from timeline.lsm.layers import layers
from timeline.lsm.log import Log
from timeline.lsm.openings import Openings
from timeline.lsm.state import merge
from timeline.lsm.timeline import Timeline
from timeline.lsm.upkeep.expiry import EXPIRY_KEY
from timeline.lsm.upkeep.sealing import PROGRESS_KEY
from timeline.options import Options
from timeline.storage.mark import read_mark
from timeline.storage.rocks import FAMILIES, FORMER_LOG, META, STATE, Storage
from timeline.storage.salvage import rebuild_files
from timeline.verification.snapshot.commits import Commits, in_family, in_files
from timeline.verification.snapshot.findings import FILES, LOG, MARK as MARK_FILE, Finding, Put
from timeline.verification.snapshot.shadow import Shadow
from timeline.verification.snapshot.walk import LAST, Pair, walk

_TRIES: Final = 25  # to open files that a daemon changes meanwhile
_REPORTED_ROWS: Final = 500  # between two calls of `on_rows`

_Row = TypeVar("_Row")


class Snapshot:
    def __init__(
        self,
        path: Path,
        options: Options | None = None,
        *,
        rebuild: bool = False,
        replay: bool = True,
    ) -> None:
        """Read the store at `path`. Raises `NotFoundError`, `FormatVersionError`, `CorruptError`,
        `StorageError`.

        With `rebuild` RocksDB first makes another database, in the shadow, of the files that it can
        read. Without `replay` the log above the sealed LSN is not applied.
        """
        if not (path / ROCKS / "CURRENT").is_file() and not rebuild:
            if has_gone(path):
                raise CorruptError(f"{path / ROCKS / 'CURRENT'} is missing")
            raise NotFoundError(f"{path} is no Timeline store")
        self.path = path
        self.options = replace(options or Options(), create=False)
        self.rows = 0  # that were looked at so far
        self.on_rows: Callable[[int], None] | None = None
        self.findings: list[Finding] = []
        self.shadow, self.storage = self._look(rebuild)
        try:
            self._build(replay=replay)
        except BaseException:
            self.close()
            raise
        unveiled = self.shadow.unveiled
        self.findings = [each._replace(text=unveiled(each.text)) for each in self.findings]

    def _look(self, rebuild: bool) -> tuple[Shadow, Storage]:
        """Open all files. What looks like damage of the log and is not found twice is none."""
        before: object = None
        for _ in range(_TRIES):
            self.findings.clear()
            self.marked = self._read_mark()
            shadow, self.storage = self._open(rebuild)
            try:
                self.format, self.epoch = self._read_store()
                self.progress = self._read_progress()
                self.commits = self._read_commits()
                found = self.commits.findings
                if not found or found == before or rebuild:  # nobody else has what is repaired
                    self.findings += found
                    return shadow, self.storage
            except BaseException:
                self.storage.close()
                shadow.close()
                raise
            before = found
            self.storage.close()
            shadow.close()
        raise _too_busy(self.path)

    def _open(self, rebuild: bool) -> tuple[Shadow, Storage]:
        """Open the files through a shadow. A daemon may remove files meanwhile, so this tries again
        while other files are missing than the time before. What fails twice alike is damaged.
        """
        before: object = None
        for _ in range(_TRIES):
            shadow = Shadow(self.path / ROCKS)
            try:
                if rebuild:
                    rebuild_files(shadow.path, self.options)
                storage, damage = self._open_shadow(shadow)
            except (CorruptError, StorageError) as error:
                shadow.close()
                text = shadow.unveiled(str(error))
                if text == before:
                    raise type(error)(text) from error
                before = text
                continue
            except BaseException:
                shadow.close()
                raise
            missing = sorted({*storage.missing(), *shadow.dangling()})
            if not missing or missing == before:
                self.findings += damage
                return shadow, storage
            before = missing
            storage.close()
            shadow.close()
        raise _too_busy(self.path)

    def _open_shadow(self, shadow: Shadow) -> tuple[Storage, list[Finding]]:
        try:
            return Storage(shadow.path, self.options, read_only=True), []
        except CorruptError as error:
            storage = Storage(shadow.path, self.options, salvage=True, read_only=True)
            if not storage.has_former_log:  # only a store of format 1 writes to RocksDB's WAL
                storage.close()
                raise
            text = (
                "the write-ahead log is damaged, and what follows the damage is lost: "
                f"{shadow.unveiled(str(error))}"
            )
            return storage, [Finding(FILES, text, lost=True)]

    def _build(self, *, replay: bool) -> None:
        self.clock = self._read_clock()
        self.checkpoints = self._read_checkpoints()
        self.memtable, self.state, self.timelines, self.inboxes = layers(
            self.storage, self.options, self.clock, self.progress
        )
        self.inboxes.floor = self._read_floor()
        self.log = Log(self.commits, self.checkpoints)
        self.applied, self.next_id, self.time = (
            self.progress.sealed, self.progress.next_id, self.progress.time,
        )  # fmt: skip
        if replay:
            self._replay()
        self.log.applied = self.applied

    def _replay(self) -> None:
        replay = Replay(
            self.storage,
            self.memtable,
            self.timelines,
            self.inboxes,
            self.checkpoints,
            self._read_openings(),
            self.progress,
        )
        try:
            replay.run(self.log, lambda: None)
        except CorruptError as error:
            replay.settle()
            self.findings.append(
                Finding(
                    LOG,
                    f"the log cannot be applied beyond LSN {replay.lsn}: {error}",
                    number=replay.lsn + 1,
                    lost=True,
                )
            )
        self.applied, self.next_id, self.time = replay.lsn, replay.next_id, replay.time

    # --- what the store is --------------------------------------------------------------------

    def _read_clock(self) -> Clock:
        certain = self.progress.upto <= self.progress.sealed
        try:
            return Clock(self.storage, self.progress.time, certain=certain)
        except CorruptError:  # the check of what the store says of itself tells of it
            return Clock(self.storage, self.progress.time, certain=certain, steps=())

    def _read_floor(self) -> Lsn:
        """The LSN up to which all in-boxes have forgotten what was delivered."""
        try:
            value = self.storage.get(META, EXPIRY_KEY)
            return NO_LSN if value is None else Lsn(decode_expiry(value).floor)
        except CorruptError:  # the same tells of it
            return NO_LSN

    def _read_checkpoints(self) -> Checkpoints:
        """Those that can be read. The check of what the store says of itself tells of others."""
        reached: dict[bytes, int] = {}
        for key, value in walk(
            self.storage, META, keys.CHECKPOINT, keys.successor(keys.CHECKPOINT)
        ):
            with suppress(CorruptError):
                reached[key[len(keys.CHECKPOINT) :]] = keys.split_number(value)
        return Checkpoints(self.storage, reached)

    def _read_openings(self) -> Openings:
        try:
            return Openings(self.storage)
        except CorruptError:  # the same tells of it
            return Openings(self.storage, ())

    def _read_store(self) -> tuple[int, int]:
        """The format and the epoch of the store."""
        try:
            value = self.storage.get(META, STORE_KEY)
            if value is None:
                raise CorruptError("the row that names the store and its format is missing")
            row = store_row(value, self.path)
        except CorruptError as error:
            self.findings.append(Finding(META, f"{error}: it cannot be opened", STORE_KEY))
            # A store that moves on has both logs for a while; until it says so, the former counts.
            former = self.storage.has_former_log and next(self.pairs(FORMER_LOG), None) is not None
            return FORMER_FORMAT if former else FORMAT, 0
        return row.format, row.epoch

    def _read_commits(self) -> Commits:
        if self.is_former:
            return Commits(in_family(self.storage), 0, self.progress.sealed, self.marked)
        files = SalvagedFiles(self.path / LOG_FILES)
        pieces = in_files(files, self.marked)
        return Commits(pieces, files.size, self.progress.sealed, self.marked)

    @property
    def is_former(self) -> bool:
        """Whether the store is of format 1, and its log is in RocksDB."""
        return self.format == FORMER_FORMAT

    @property
    def families(self) -> tuple[str, ...]:
        """The column families that there are."""
        former = self.is_former and self.storage.has_former_log
        return (*FAMILIES, FORMER_LOG) if former else FAMILIES

    def _read_progress(self) -> ProgressRow:
        try:
            value = self.storage.get(META, PROGRESS_KEY)
            if value is None:
                raise CorruptError("the progress of sealing is missing")
            return decode_progress(value)
        except CorruptError as error:
            self.findings.append(
                Finding(META, f"{error}: the log may be applied from the wrong place", PROGRESS_KEY)
            )
            return ProgressRow(0, 0, 1, 0)

    def _read_mark(self) -> int:
        """The LSN of the durable mark; 0 when it is not there."""
        mark = read_mark(self.path / MARK)
        if mark is None:
            self.findings.append(
                Finding(
                    MARK_FILE,
                    "the durable mark is missing: the loss of the newest commits would go "
                    "unnoticed",
                )
            )
            return 0
        for number in mark.damaged:
            self.findings.append(
                Finding(
                    MARK_FILE,
                    f"slot {number} of the durable mark is damaged: the loss of the newest "
                    "commits would go unnoticed",
                )
            )
        return mark.lsn

    # --- reading ------------------------------------------------------------------------------

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The rows of state whose keys begin with `prefix`, with the log applied."""
        stop = keys.successor(prefix)
        below = self.noted(walk(self.storage, STATE, prefix, stop))
        return merge(below, self.memtable.scan(prefix, stop))

    def pairs(self, family: str) -> Iterator[tuple[bytes, bytes]]:
        """The rows that a family holds on disk, as far as they can be read."""
        return self.noted(walk(self.storage, family, b"", LAST))

    def noted(self, pairs: Iterator[Pair]) -> Iterator[Pair]:
        """The same rows. Now and then `on_rows` hears how many were looked at so far."""
        for pair in pairs:
            self.note_row()
            yield pair

    def note_row(self) -> None:
        """One more was looked at."""
        self.rows += 1
        if self.on_rows is not None and self.rows % _REPORTED_ROWS == 0:
            self.on_rows(self.rows)

    def get(self, key: bytes) -> bytes | None:
        """A value of state; None when there is none, or when it cannot be read."""
        try:
            return self.state.get(key)
        except CorruptError:
            return None

    def row(self, timeline_id: int) -> TimelineRow | None:
        """The row of a timeline; None when there is none, or none that can be read."""
        if not 0 < timeline_id <= keys.MAX:
            return None
        return self._decoded(keys.ROW + keys.number(timeline_id), decode_row)

    def timeline(self, timeline_id: int) -> Timeline | None:
        """The timeline itself; None when there is none, or when its row cannot be read."""
        if not 0 < timeline_id <= keys.MAX:
            return None
        self.timelines.forget_idle()
        try:
            return self.timelines.load(timeline_id)
        except CorruptError:
            return None

    def name(self, timeline_id: int) -> bytes:
        row = self.row(timeline_id)
        return b"" if row is None else row.name

    def conversation(self, conversation: int) -> ConversationRow | None:
        """The row of a conversation; None when there is none, or none that can be read."""
        if not 0 < conversation <= keys.MAX:
            return None
        return self._decoded(conversation_key(conversation), decode_conversation)

    def member(self, inbox: int, conversation: int) -> MemberRow | None:
        """The row that a user has of a conversation; None as for `conversation`."""
        return self._decoded(member_key(inbox, conversation), decode_member)

    def feed(self, feed: int) -> FeedRow | None:
        """The row of a feed; None as for `conversation`."""
        return self._decoded(feed_key(feed), decode_feed) if 0 < feed <= keys.MAX else None

    def follow(self, home: int, feed: int) -> FollowRow | None:
        """The row that a reader has of a feed; None as for `conversation`."""
        return self._decoded(follow_key(home, feed), decode_follow)

    def tie(self, home: int, feed: int) -> TieRow | None:
        """What else a reader has with an author; None as for `conversation`."""
        return self._decoded(tie_key(home, feed), decode_tie)

    def _decoded(self, key: bytes, decode: Callable[[bytes], _Row]) -> _Row | None:
        value = self.get(key)
        try:
            return None if value is None else decode(value)
        except CorruptError:
            return None

    def holds(self, prefix: bytes) -> bool:
        """Whether any key of state begins with `prefix`."""
        return next(self.scan(prefix), None) is not None

    def head(self, timeline_id: int) -> int | None:
        timeline = self.timeline(timeline_id)
        return None if timeline is None else self.memtable.head(timeline)

    def close(self) -> None:
        self.commits.close()
        self.storage.close()
        self.shadow.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _too_busy(path: Path) -> StorageError:
    return StorageError(
        f"{path} changes too fast to be checked while it is open: try again, or stop the daemon"
    )


def grow(snapshot: Snapshot, timeline_id: int, seq: int) -> tuple[Put, ...]:
    """The rows that raise the head of a timeline to at least `seq`."""
    row = snapshot.row(timeline_id)
    if row is None or row.floor >= seq:
        return ()
    from_row = row._replace(floor=seq)
    return (Put(STATE, keys.ROW + keys.number(timeline_id), encode_row(from_row)),)
