"""The promise: a person on call sees what is in a store, and sees the same in a directory that
stopped, in one that is in use, and in a daemon. Looking changes nothing.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

import timeline
from tests.engine.stores import state_of
from tests.server.daemon import Daemon
from tests.tools.looks import BINARY, ENTRIES, ROOMS, TOTAL, documents, printed, refused, run
from timeline.formats.rows import FORMAT
from timeline.messaging.conversations.lifecycle import Deletion

LOOKS = [
    ["inspect", "room:000"],
    ["inspect", "@user:bob"],
    ["inspect", "@conv:team"],
    ["inspect", "room:001", "--segment", "300"],
    ["inspect", "@user:carol", "--segment", "1", "--hex"],
    ["ls"],
    ["ls", "--kind", "all"],
    ["ls", "room:09"],
    ["cat", "room:000"],
    ["cat", "room:001", "--reverse", "--limit", "1500"],
    ["cat", "room:001", "--from", "990", "--to", "1010"],
    ["cat", "room:001", "--since", "1h", "--until", "2999-01-01", "--limit", "3"],
    ["cat", "@user:bob"],
    ["cat", "@user:carol"],
    ["cat", "@user:carol", "--reverse"],
    ["inspect", "@home:xia"],
    ["inspect", "@feed:zoe"],
    ["cat", "@home:xia"],
    ["cat", "@home:xia", "--reverse", "--limit", "3"],
    ["cat", "@feed:zoe", "--limit", "3"],
    ["tail", "@home:xia", "-n", "3"],
    ["ls", "--kind", "home"],
    ["ls", "@feed"],
    ["cat", "team", "--events"],
    ["cat", "--log"],
    ["tail", "@conv:team", "-n", "3"],
    ["tail", "--log", "-n", "1"],
    ["search", "nine"],
    ["search", "nine", "--user", "bob", "--conversation", "team", "--sender", "ann"],
    ["search", "添加", "--timeline", "@conv:team", "--limit", "1"],
    ["conversation", "team"],
    ["user", "bob"],
    ["user", "carol", "--unread"],
]


@pytest.mark.parametrize("look", LOOKS, ids=" ".join)
def test_a_directory_and_a_daemon_tell_the_same(
    look: list[str], stopped: Path, daemon: Daemon
) -> None:
    verb, *rest = look
    told = documents(verb, "--connect", f"127.0.0.1:{daemon.port}", *rest)
    assert told
    assert documents(verb, str(daemon.data), *rest) == told, "in use"
    assert documents(verb, str(stopped), *rest) == told, "stopped"


def test_looking_changes_nothing(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = stopped.with_name("tmp")
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    before = state_of(stopped)
    for verb, *rest in [*LOOKS, ["inspect"], ["stats"]]:
        assert run(verb, str(stopped), *rest).exit_code == 0
    assert state_of(stopped) == before
    assert not list(temporary.iterdir()), "nor is anything left behind"


# --- what is shown --------------------------------------------------------------------------------


def test_inspect_shows_what_a_store_is_made_of(where: list[str]) -> None:
    (found,) = documents("inspect", *where)
    assert found["format"] == FORMAT
    assert (found["timelines"], found["conversations"], found["users"]) == (ROOMS + 1, 2, 3)
    assert {each["name"] for each in found["families"]} >= {"segments", "state"}
    assert found["log"]["size"] > 0
    assert found["log"]["last"] >= found["log"]["sealed"] > 0
    assert [each["name"] for each in found["log"]["consumers"]] == ["index"]
    assert found["search"]["index_documents"] > 0
    text = printed("inspect", *where)
    for word in ("epoch", "Column families", "segments", "Consumers of the log", "documents"):
        assert word in text


def test_inspect_shows_a_timeline_and_a_segment(where: list[str]) -> None:
    (found,) = documents("inspect", *where, "room:000")
    assert (found["first"], found["head"], found["length"]) == (11, ENTRIES, ENTRIES - 10)
    assert found["maxlen"] == 5_000
    assert found["metadata"] == {"owner": "alice"}
    assert sum(each["entries"] for each in found["segments"]) + found["tail"] >= ENTRIES - 10
    assert found["segment_count"] == len(found["segments"])
    text = printed("inspect", *where, "room:000")
    assert "5,000 entries" in text
    assert "owner" in text
    (team,) = documents("inspect", *where, "@conv:team")
    assert (team["members"], team["diffusion"], team["state"]) == (3, "write", "whole")
    (segment,) = documents("inspect", *where, "room:001", "--segment", "300")
    seqs = [row["seq"] for row in segment["rows"]]
    assert 300 in seqs
    assert seqs == list(range(seqs[0], seqs[0] + segment["entries"]))
    assert segment["intact"]
    shown = printed("inspect", *where, "room:001", "--segment", "300", "--hex")
    assert "checksum" in shown
    assert "00000000  01 00" in shown
    assert "a quite ordinary message in room" in "".join(
        line[-16:] for line in shown.splitlines() if re.match("[0-9a-f]{8}  ", line)
    )


def test_ls_lists_by_prefix_and_kind(where: list[str]) -> None:
    names = [each["name"] for each in documents("ls", *where)]
    assert names == ["bin\\xff", *(f"room:{room:03}" for room in range(ROOMS))]
    assert [each["name"] for each in documents("ls", *where, "--kind", "conversation")] == [
        "@conv:busy",
        "@conv:team",
    ]
    assert [each["kind"] for each in documents("ls", *where, "@user:")] == ["inbox"] * 3
    assert [each["name"] for each in documents("ls", *where, "--kind", "feed")] == [
        "@feed:yan",
        "@feed:zoe",
    ]
    (home,) = documents("ls", *where, "--kind", "home")
    assert (home["name"], home["kind"], home["length"]) == ("@home:xia", "home", 23)
    assert [each["kind"] for each in documents("ls", *where, "@feedevent:")] == ["feed-events"] * 2
    heading, one, two = printed("ls", *where, "room:", "--limit", "2").splitlines()
    assert heading.split() == ["first", "head", "entries", "kind", "name"]
    assert one.split() == ["11", "3,000", "2,990", "timeline", "room:000"]
    assert two.split()[-1] == "room:001"
    assert documents("ls", *where, "nothing") == []


def test_cat_prints_every_entry_once_in_both_directions(where: list[str]) -> None:
    found = [each["id"] for each in documents("cat", *where, "room:001")]
    assert found == [f"{number}-0" for number in range(1, ENTRIES + 1)]
    backwards = [each["id"] for each in documents("cat", *where, "room:001", "--reverse")]
    assert backwards == found[::-1]
    inbox = [each["id"] for each in documents("cat", *where, "@user:carol")]
    assert len(inbox) > 1_500
    assert len(set(inbox)) == len(inbox)
    assert [each["id"] for each in documents("cat", *where, "@user:carol", "--reverse")] == (
        inbox[::-1]
    )


def test_a_home_shows_references_to_posts(where: list[str]) -> None:
    found = documents("cat", *where, "@home:xia")
    assert len(found) == 23
    assert found[0]["fields"] == [["kind", "follow"], ["timeline", "@feed:zoe"], ["seq", "0"]]
    assert found[2]["fields"] == [["kind", "post"], ["timeline", "@feed:zoe"], ["seq", "2"]]
    assert found[-1]["fields"] == [["kind", "edit"], ["timeline", "@feed:zoe"], ["seq", "3"]]
    assert documents("tail", *where, "@home:xia", "-n", "3") == found[-3:]
    text = printed("inspect", *where, "@home:xia")
    assert "floor" in text
    assert re.search("kind +home", text)


def test_cat_bounds_by_number_and_by_time(where: list[str]) -> None:
    def cat(*bounds: str) -> list[Any]:
        return documents("cat", *where, "room:002", *bounds)

    assert [each["id"] for each in cat("--from", "7", "--to", "9")] == ["7-0", "8-0", "9-0"]
    first = cat("--limit", "1")[0]["time"]
    assert len(cat("--since", str(first))) == ENTRIES
    assert cat("--until", str(first - 1)) == []
    assert len(cat("--since", "1d")) == ENTRIES
    assert cat("--since", "2999-12-31") == []
    assert cat("--limit", "0") == []


def test_an_entry_is_one_line_whatever_is_in_it(where: list[str]) -> None:
    name = os.fsdecode(BINARY)
    (line,) = printed("cat", *where, name).splitlines()
    assert line.endswith(r"""\xff="\x00\n\x1b[31m\"q'" plain=已添加""")
    (found,) = documents("cat", *where, name)
    assert found["fields"][1] == ["plain", "已添加"]


def test_tail_prints_the_newest_oldest_first(where: list[str]) -> None:
    found = [each["id"] for each in documents("tail", *where, "room:003", "-n", "3")]
    assert found == [f"{number}-0" for number in range(ENTRIES - 2, ENTRIES + 1)]
    assert len(documents("tail", *where, "@user:bob")) == 10
    log = documents("tail", *where, "--log", "-n", "1")
    assert log[-1]["lsn"] == documents("inspect", *where)[0]["log"]["last"]


def test_search_marks_the_matches_and_shows_a_user_what_they_may_see(where: list[str]) -> None:
    lines = printed("search", *where, "nine").splitlines()
    assert len(lines) == 8 - 2, "less what was recalled"
    assert lines[0] == "@conv:team 8-0  ann: *nine* o'clock & <b>7</b>"
    (page,) = documents("search", *where, "nine", "--user", "bob", "--limit", "2")
    assert [hit["id"] for hit in page["hits"]] == ["8-0", "6-0"]
    (rest,) = documents(
        "search", *where, "nine", "--user", "bob", "--after", page["cursor"], "--limit", "9"
    )
    assert [hit["id"] for hit in rest["hits"]] == ["3-0", "1-0"], "4 and 5 are hidden"


def test_a_conversation_is_shown_with_its_members(where: list[str]) -> None:
    (found,) = documents("conversation", *where, "team")
    assert (found["members"], found["head"], found["uncounted"]) == (3, 10, 3)
    assert (found["recalled"], found["silent"]) == (2, 1)
    assert [each["user"] for each in found["listed"]] == ["ann", "bob", "carol"]
    text = printed("conversation", *where, "@conv:team", "--members", "1")
    assert "3: 2 recalled, 1 silent" in text
    assert "carol" not in text


def test_unread_is_explained_term_by_term(where: list[str]) -> None:
    (found,) = documents("user", *where, "bob")
    rows = {each["id"]: each for each in found["conversations"]}
    assert rows["busy"]["muted"]
    team = rows["team"]
    assert (team["head"], team["read"], team["above"]) == (10, 1, 9)
    assert (team["uncounted"], team["hidden"], team["unread"], team["mentions"]) == (3, 2, 4, 1)
    for row in rows.values():
        assert row["unread"] == row["above"] - row["uncounted"] - row["hidden"]
    (phone,) = found["devices"]
    assert phone["device"] == "phone"
    assert phone["behind"] >= 1
    text = printed("user", *where, "bob")
    assert "unread = above - uncounted - hidden" in text


def test_a_home_is_explained_post_by_post(tmp_path: Path, daemon: Daemon) -> None:
    path = tmp_path / "data"
    with timeline.open(path, search=False) as db, daemon.client() as client:
        for author in ("ann", "bob"):
            db.feeds.publish(author, {"text": "x"})
            client.execute_command("FEED.PUBLISH", author, "*", "text", "x")
        db.feeds.follow("bob", ["ann"])
        client.execute_command("FEED.FOLLOW", "bob", "ann")
    for where in ([str(path)], ["--connect", f":{daemon.port}"]):
        (found,) = documents("user", *where, "bob", "--feeds")
        assert (found["id"], found["post"]) == ("bob", None)
        assert (found["feed"]["posts"], found["home"]["following"]) == (1, 1)
        text = printed("user", *where, "bob", "--post", "ann/1")
        assert "ann/1 is in the home: it is pulled: it was there when they followed" in text
        (found,) = documents("user", *where, "ann", "--post", "bob/1")
        assert (bool(found["post"]["shown"]), found["home"]) == (False, None)
        assert found["post"]["why"] == "they do not follow its author"
        assert run("user", *where, "ann", "--post", "x").exit_code != 0


def test_stats_are_grouped(where: list[str], daemon: Daemon) -> None:
    (found,) = documents("stats", *where)
    assert int(found["timeline"]["lsn"]) > ROOMS
    assert list(documents("stats", *where, "timeline")[0]) == ["timeline"]
    assert "unsealed_bytes" in printed("stats", *where, "timeline")
    assert run("stats", *where, "nothing").exit_code == 2


def test_what_is_half_deleted_is_said_to_be(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "data", search=False) as db:
        db.messaging.create("town", members=[f"citizen{number}" for number in range(300)])
        deletion = Deletion(b"town", b"-")
        assert db.engine.commit(deletion.step), "there is more to do"
    assert "being deleted" in printed("conversation", str(tmp_path / "data"), "town")


def test_the_pages_of_a_user_are_one_answer(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline_tools.sources.daemon._PAGE_CONVERSATIONS", 1)
    (found,) = documents("user", "--connect", f":{daemon.port}", "bob")
    assert (len(found["conversations"]), found["cursor"]) == (2, "")


def test_rows_are_counted_of_a_store_that_was_opened_again(where: list[str]) -> None:
    (found,) = documents("inspect", *where)
    keys = {family["name"]: family["keys"] for family in found["families"]}
    assert TOTAL // 256 <= keys["segments"] <= TOTAL // 128


def test_retention_is_shown_without_a_change(where: list[str], stopped: Path) -> None:
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    assert printed("retention", *where, "room:000") == "room:000: kept: 5,000 entries\n"
    assert "no timeline" in refused("retention", *where, "nothing")
    assert before == {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}


def test_a_commit_that_changed_only_state_says_so(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", search=False) as db:
        db.timeline("a").append({"n": "1"})
        db.timeline("a").set_metadata({"owner": "ann"})
    lines = printed("tail", str(tmp_path / "store"), "--log").splitlines()
    assert lines[-1].endswith("  state only")
