"""What a user of timelines may rely on, stated once and kept by the embedded API and the wire.

A promise asks an adapter and knows nothing of what lies behind it, so every one of them holds in
the process and over a socket, before and after sealing, a restart, a kill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import timeline
from tests.engine.adapters import Adapter, Embedded, Refused, Wire
from timeline.errors import UsageError
from timeline.storage.rocks import INBOXES, Storage


@pytest.fixture(scope="module", params=[Embedded, Wire], ids=["embedded", "wire"])
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Adapter]:
    adapter = request.param(tmp_path_factory.mktemp("promises") / "store", deleted_names=0)
    yield adapter
    adapter.close()


@pytest.fixture(params=[Embedded, Wire], ids=["embedded", "wire"])
def remembering(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Adapter]:
    """A store that remembers what deleted timelines had given out, as all do by default."""
    adapter = request.param(tmp_path / "store", deleted_names=100_000)
    yield adapter
    adapter.close()


@pytest.fixture
def store(opened: Adapter) -> Adapter:
    """An empty store, which has seen other tests."""
    for name in opened.names():
        opened.drop(name)
    return opened


Disturbance = Callable[[Adapter], None]

DISTURBANCES: dict[str, Disturbance] = {
    "nothing": lambda _: None,
    "compaction": lambda store: store.compact(),
    "restart": lambda store: store.restart(),
    "kill": lambda store: store.kill(),
}


@pytest.fixture(params=list(DISTURBANCES))
def disturb(request: pytest.FixtureRequest) -> Disturbance:
    """Something that must change no answer."""
    return DISTURBANCES[request.param]


def seqs(store: Adapter, name: str = "a") -> list[int]:
    return [seq for seq, _ in store.range(name)]


def fill(store: Adapter, count: int, name: str = "a") -> None:
    store.append_many(name, [{"n": b"%d" % number} for number in range(1, count + 1)])


def test_numbers_begin_at_one_and_have_no_gap(store: Adapter, disturb: Disturbance) -> None:
    assert [store.append("a", {"v": b"x"}) for _ in range(3)] == [1, 2, 3]
    assert store.append_many("a", [{"v": b"x"}] * 4) == [4, 5, 6, 7]
    disturb(store)
    assert store.append("a", {"v": b"x"}) == 8
    assert seqs(store) == list(range(1, 9))
    assert store.append("b", {"v": b"x"}) == 1


def test_an_explicit_number_must_exceed_the_head(store: Adapter, disturb: Disturbance) -> None:
    assert store.append("a", {"v": b"x"}, 5) == 5
    assert store.append("a", {"v": b"x"}, 2**40) == 2**40
    disturb(store)
    for refused in (0, 1, 5, 2**40):
        with pytest.raises(Refused, match=r"^ERR "):
            store.append("a", {"v": b"x"}, refused)
    assert store.append("a", {"v": b"x"}) == 2**40 + 1
    assert seqs(store) == [5, 2**40, 2**40 + 1]
    assert store.length("a") == 3


def test_fields_come_back_as_sent(store: Adapter, disturb: Disturbance) -> None:
    fields = {
        "z": b"",
        "a": bytes(range(256)),
        "text": "已添加为好友".encode(),
        "": b"*2\r\n$1\r\n",
    }
    store.append("a", fields)
    disturb(store)
    ((_, found),) = store.range("a")
    assert found == [(name.encode(), value) for name, value in fields.items()]


def test_ranges_go_both_ways_and_stop_at_both_ends(store: Adapter, disturb: Disturbance) -> None:
    fill(store, 20)
    disturb(store)
    fill(store, 10)
    everything = list(range(1, 31))
    for first, last, limit in ((1, 30, None), (0, 99, 7), (5, 25, 30), (18, 23, 4), (31, 40, 1)):
        expected = [seq for seq in everything if first <= seq <= last]
        found = [seq for seq, _ in store.range("a", first, last, limit)]
        assert found == expected[:limit]
        found = [seq for seq, _ in store.range("a", first, last, limit, reverse=True)]
        assert found == expected[::-1][:limit]


def test_a_timeline_that_is_not_there_is_empty(store: Adapter) -> None:
    assert store.range("a") == []
    assert store.length("a") == 0
    assert store.delete("a", 1) == 0
    assert store.drop("a") is False
    assert store.names() == []


def test_the_head_survives_trimming_everything(store: Adapter, disturb: Disturbance) -> None:
    fill(store, 9)
    assert store.trim_to_length("a", 0) == 9
    disturb(store)
    assert store.length("a") == 0
    assert store.head("a") == 9
    assert store.append("a", {"v": b"x"}) == 10


def test_trims_keep_the_newest(store: Adapter, disturb: Disturbance) -> None:
    fill(store, 30)
    disturb(store)
    assert store.trim_to_length("a", 12) == 18
    assert seqs(store) == list(range(19, 31))
    assert store.trim_before("a", 25) == 6
    assert store.trim_before("a", 3) == 0
    disturb(store)
    assert seqs(store) == list(range(25, 31))
    assert store.length("a") == 6


def test_deleted_entries_are_gone_and_leave_their_numbers(
    store: Adapter, disturb: Disturbance
) -> None:
    fill(store, 10)
    disturb(store)
    assert store.delete("a", 3, 4, 10, 77) == 3
    assert store.delete("a", 3) == 0
    disturb(store)
    assert seqs(store) == [1, 2, 5, 6, 7, 8, 9]
    assert store.length("a") == 7
    assert store.append("a", {"v": b"x"}) == 11
    assert [seq for seq, _ in store.range("a", reverse=True, limit=2)] == [11, 9]
    assert store.trim_to_length("a", 2) == 6


def test_the_newest_come_first_wherever_they_lie(store: Adapter) -> None:
    store.append_many("t", [{"n": b"%d" % number} for number in range(1, 11)])
    store.compact()
    assert [seq for seq, _ in store.range("t", limit=3, reverse=True)] == [10, 9, 8]
    store.append_many("t", [{"n": b"%d" % number} for number in range(11, 14)])
    assert [seq for seq, _ in store.range("t", limit=3, reverse=True)] == [13, 12, 11]
    assert [seq for seq, _ in store.range("t", limit=4, reverse=True)] == [13, 12, 11, 10]
    store.delete("t", 12)
    assert [seq for seq, _ in store.range("t", limit=2, reverse=True)] == [13, 11]
    assert [seq for seq, _ in store.range("t", last=9, limit=2, reverse=True)] == [9, 8]
    assert [seq for seq, _ in store.range("t", first=10, limit=2)] == [10, 11]


def test_a_dropped_timeline_is_empty_when_made_anew(store: Adapter, disturb: Disturbance) -> None:
    fill(store, 5)
    disturb(store)
    assert store.drop("a") is True
    disturb(store)
    assert store.names() == []
    assert store.append("a", {"v": b"new"}) == 1
    disturb(store)
    assert store.range("a") == [(1, [(b"v", b"new")])]


def test_a_dropped_timeline_goes_on_above_its_numbers(
    remembering: Adapter, disturb: Disturbance
) -> None:
    store = remembering
    fill(store, 5)
    disturb(store)
    assert store.drop("a") is True
    disturb(store)
    assert store.names() == []
    assert store.append("a", {"v": b"new"}) == 6
    disturb(store)
    assert store.range("a") == [(6, [(b"v", b"new")])]
    assert store.range("a", first=6) == [(6, [(b"v", b"new")])]
    assert store.drop("a") is True
    assert store.append_many("a", [{"v": b"x"}, {"v": b"y"}]) == [7, 8]
    disturb(store)
    assert seqs(store) == [7, 8]


def test_who_gives_numbers_begins_where_they_like(
    remembering: Adapter, disturb: Disturbance
) -> None:
    store = remembering
    fill(store, 5)
    store.drop("a")
    disturb(store)
    assert store.append("a", {"v": b"new"}, seq=2) == 2
    disturb(store)
    with pytest.raises(Refused):
        store.append("a", {"v": b"x"}, seq=2)
    assert store.append("a", {"v": b"x"}) == 3
    disturb(store)
    assert seqs(store) == [2, 3]


def test_a_commit_over_several_timelines_is_whole(store: Adapter, disturb: Disturbance) -> None:
    fill(store, 2)
    assert store.commit([("a", {"v": b"1"}), ("b", {"v": b"2"}), ("a", {"v": b"3"})]) == [3, 1, 4]
    disturb(store)
    assert seqs(store, "a") == [1, 2, 3, 4]
    assert store.range("b") == [(1, [(b"v", b"2")])]
    assert store.names() == ["a", "b"]


def test_a_refused_write_leaves_nothing(store: Adapter) -> None:
    fill(store, 1)
    with pytest.raises(Refused):
        store.commit([("a", {"v": b"1"}), ("b", {"x" * 256: b"2"})])
    with pytest.raises(Refused, match=r"^TOOLARGE "):
        store.append("a", {"v": bytes(2**20 + 1)})
    with pytest.raises(Refused, match=r"^TOOLARGE "):
        store.append("a", {str(number): b"" for number in range(257)})
    with pytest.raises(Refused):
        store.append("@conv:team", {"v": b"x"})
    assert seqs(store) == [1]
    assert store.names() == ["a"]
    assert store.append("a", {"v": b"x"}) == 2


def test_the_log_names_what_was_changed(tmp_path: Path) -> None:
    """What was dropped since has no name."""
    path = tmp_path / "store"
    with timeline.open(path, search=False) as db:
        for name in ("a", "gone"):
            db.timeline(name).append_many([{"n": "1"}, {"n": "2"}])
        db.timeline("a").delete(1)
        db.timeline("a").trim(before=2)
        db.timeline("gone").drop()
        db.log.move("reader", 0)
        followed = [commit.changes for commit in db.log.follow(timeout=0.0)]
        for never in (lambda: db.log.read(after=10**6), lambda: next(db.log.follow(after=10**6))):
            with pytest.raises(UsageError, match="LSN 1000000 is above the last one"):
                never()
    expected = [
        [("append", b"a", 1, 2)],
        [("append", None, 1, 2)],
        [("patch", b"a", 1, 1)],
        [("trim", b"a", 2, 2)],
        [("drop", None, 0, 0)],
    ]

    def told(
        commits: list[list[timeline.Change]],
    ) -> list[list[tuple[str, bytes | None, int, int]]]:
        return [
            [(each.kind, each.timeline, each.first, each.last) for each in changes]
            for changes in commits
        ]

    assert told(followed) == expected
    with timeline.open(path, search=False) as db:
        assert told([commit.changes for commit in db.log.read()]) == expected


def test_a_handle_is_true_and_its_head_costs_a_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with timeline.open(tmp_path / "store", search=False) as db:
        assert db.timeline("none")
        im = db.messaging
        im.create("team", "ann", members=["bob"])
        im.send("team", "ann", {"text": "x"})
        box = db.timeline("@user:bob")
        expected = (box.extent().head, len(box))
        assert expected == (2, 2)

        scan = Storage.scan

        def sparing(own: Storage, family: str, *keys: bytes) -> Iterator[tuple[bytes, bytes]]:
            assert family != INBOXES, "all of the in-box was read"
            return scan(own, family, *keys)

        monkeypatch.setattr(Storage, "scan", sparing)
        assert box
        assert box.head == 2
