"""Make the golden stores of the present format: `python -m tests.engine.golden.make`.

Run it once for every released version of timeline/formats/FORMAT.md and commit what it writes:

    v<format>.tar.xz         a store as a kill left it, in the middle of a pass of sealing
    v<format>-load.tar.xz    one that was killed under load: half of its log is sealed and kept for
                             a follower, the other half is not sealed
    *.json                   what must be read from them: from the oracle, not from the engine

Never make one again after its release: a store that an old version wrote is the point. RocksDB puts
the name of the host into its files; give it one of your own by `unshare --uts`.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import timeline
from tests.engine.stores import Clock, abandon, copy_as_killed, small_steps
from tests.engine.twin import Step, Twin
from timeline.formats import keys
from timeline.formats.rows import FORMAT, Retention
from timeline.options import Options

HERE = Path(__file__).parent
OPTIONS = Options(
    segment_entries=8, segment_bytes=2_048, fsync="inline", search=False, log_file_bytes=4_096
)
FOLLOWER = "golden"
BURSTS = 24  # of appends under load
BEHIND = 20  # LSN that a follower has reached then, far below what is sealed

BEFORE_SEALING: list[Step] = [
    ("make_users",),
    ("append_many", b"contiguous", [b"entry %d" % number for number in range(1, 41)]),
    ("append", b"binary", bytes(range(256))),
    ("append", b"binary", b""),
    ("append", b"binary", "已添加为好友".encode()),
    ("append", b"\xff\x00\r\n", b"a name of any bytes"),
    ("append", b"sparse", b"ten", 10),
    ("append", b"sparse", b"eleven"),
    ("append", b"sparse", b"far away", 2**40),
    ("append", b"sparse", b"the last there is", keys.LAST),
    ("append_many", b"patched", [b"p%d" % number for number in range(1, 21)]),
    ("append_many", b"trimmed", [b"t%d" % number for number in range(1, 31)]),
    ("append_many", b"emptied", [b"e%d" % number for number in range(1, 6)]),
    ("append_many", b"deleted", [b"d%d" % number for number in range(1, 13)]),
    ("append_many", b"reborn", [b"old %d" % number for number in range(1, 4)]),
    ("append", b"gone", b"dropped later"),
    ("send", b"conversation", b"to two members"),
    ("join", 2),
    ("send", b"conversation", b"to three members"),
    ("leave", 0),
    ("send", b"conversation", b"to the two others"),
]
COMPACTED: list[Step] = [
    ("replace", b"patched", 3, b"folded in"),
    ("delete", b"patched", 5, 20),
    ("trim", b"trimmed", 11),
    ("seal",),
    ("compact",),
]
SEALED: list[Step] = [
    ("replace", b"patched", 4, b"a patch on disk"),
    ("delete", b"patched", 6, 7),
    ("delete", b"deleted", 1, 2, 6, 12),
    ("trim", b"trimmed", 20),
    ("trim", b"emptied", 6),
    ("drop", b"reborn"),
    ("append", b"reborn", b"new"),
    ("both", b"contiguous", b"trimmed", b"a transaction"),
    ("send", b"conversation", b"sealed"),
    ("seal",),
]
IN_THE_LOG: list[Step] = [
    ("append_many", b"contiguous", [b"unsealed %d" % number for number in range(9)]),
    ("replace", b"patched", 9, b"a patch in the log"),
    ("delete", b"patched", 10),
    ("trim", b"deleted", 4),
    ("drop", b"gone"),
    ("send", b"conversation", b"in the log"),
    ("join", 0),
    ("send", b"new in the log", b"to all again"),
    ("seal_a_little", 3),
    ("both", b"conversation", b"contiguous", b"behind an interrupted pass"),
]


def text(value: bytes) -> str:
    return value.decode("latin-1")


def listing(twin: Twin) -> dict[str, Any]:
    """What must be read, from the oracle."""
    timelines, inboxes = twin.expected()
    return {
        "lsn": twin.oracle.lsn,
        "epoch": twin.db.engine.store.epoch,
        "timelines": {
            text(name): {
                "id": twin.oracle.timelines[name].id,
                "first": first,
                "head": head,
                "length": length,
                "created": created,
                "entries": [
                    [seq, time, [text(item) for item in items]] for seq, time, items in entries
                ],
            }
            for name, (first, head, length, created, entries) in sorted(timelines.items())
        },
        "in-boxes": {str(inbox): found for inbox, found in inboxes.items()},
        "retention": {"contiguous": [86_400_000, 1_000, 1_000_000]},
        "checkpoints": {FOLLOWER: 2},
    }


def make(directory: Path) -> None:
    with Clock(1_700_000_000_000).installed() as clock, small_steps():
        twin = Twin(directory / "store", OPTIONS, clock)
        twin.db.log.move(FOLLOWER, 0)
        for step in BEFORE_SEALING + COMPACTED + SEALED:
            twin.do(step)
        pending = twin.oracle.begin(clock.now)
        retention = Retention(86_400_000, 1_000, 1_000_000)
        twin.db.timeline("contiguous").set_retention(
            age_ms=retention.age, length=retention.length, bytes_=retention.size
        )
        pending.changed = True
        pending.accept()
        twin.db.log.move(FOLLOWER, 2)
        for step in IN_THE_LOG:
            twin.do(step)
        twin.check()
        found = listing(twin)
        target = copy_as_killed(twin.db, directory / f"v{FORMAT}")
        abandon(twin.db)
    keep(target, found)


def make_under_load(directory: Path) -> None:
    written: dict[str, list[str]] = {f"room:{number}": [] for number in range(5)}
    db = timeline.open(directory / "loaded", replace(OPTIONS, fsync="thread"))
    count = 0
    for burst in range(BURSTS):
        waiting = []
        for number in range(1 + burst % 20):
            name = f"room:{(burst + number) % len(written)}"
            value = f"{burst}.{number} ".ljust(count % 90, "x")
            waiting.append(db.timeline(name).append_async({"v": value}))
            written[name].append(value)
            count += 1
        for each in waiting:
            each.result()
        if burst == BURSTS // 2:
            db.log.move("behind", BEHIND)
            db.engine.seal()
            db.engine.store.flush()
    found = {
        "lsn": count,
        "epoch": db.engine.store.epoch,
        "timelines": written,
        "checkpoints": {"behind": BEHIND},
    }
    target = copy_as_killed(db, directory / f"v{FORMAT}-load")
    abandon(db)
    keep(target, found)


def keep(target: Path, listed: dict[str, Any]) -> None:
    """Pack the store in `target`, beside what must be read from it."""
    for noise in ("LOG*", "OPTIONS-*"):  # they hold paths of this machine, and nobody needs them
        for path in (target / "rocks").glob(noise):
            path.unlink()
    (HERE / f"{target.name}.json").write_text(json.dumps(listed, indent=1) + "\n", "utf-8")
    with tarfile.open(HERE / f"{target.name}.tar.xz", "w:xz", preset=9) as archive:
        archive.add(target, target.name, filter=_anonymous)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        make(Path(scratch))
        make_under_load(Path(scratch))
