"""The promise: whoever is called at night sees what is in a store, of a directory that stopped, one
in use, or a daemon, and sees the same; and looking changes nothing.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import timeline
from tests.engine.stores import copy_as_killed, state_of
from tests.server.daemon import Daemon
from timeline.formats.rows import FORMAT, StoreRow, encode_store
from timeline.messaging.conversations import Deletion
from timeline.storage import META, SEGMENTS
from timeline.store import STORE_KEY
from timeline_tools.looking import MOMENT, escaped
from timeline_tools.main import main

TIMELINE = Path(sys.executable).parent / "timeline"
ROOMS, ENTRIES = 100, 3_000
BINARY = b"bin\xff"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def printed(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def documents(*arguments: str) -> list[Any]:
    """What `--json` prints, one document or one a line."""
    text = printed(*arguments, "--json")
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]


def fill(db: timeline.Database) -> None:
    """300,000 entries in a hundred timelines, a team with all that makes counting hard, and a user
    with an in-box of several pages.
    """
    for room in range(ROOMS):
        text = f"a quite ordinary message in room {room}"
        entries = [{"n": str(number), "text": text} for number in range(ENTRIES)]
        db.timeline(f"room:{room:03}").append_many(entries)
    db.timeline("room:000").trim(before=11)
    db.timeline("room:000").set_metadata({"owner": "alice"})
    db.timeline("room:000").set_retention(length=5_000)
    db.timeline(BINARY).append({b"\xff": b"\x00\n\x1b[31m\"q'", b"plain": "已添加".encode()})
    im = db.messaging
    im.create("team", "ann", members=["bob", "carol"], meta={"title": "Us"})
    for number in range(8):
        im.send("team", "ann", {"text": f"nine o'clock & <b>{number}</b>"}, silent=number == 2)
    im.recall("team", 2)
    im.recall("team", 7)
    im.read("bob", "team", 1)
    im.hide("bob", "team", 4, 5)
    im.send("team", "ann", {"text": "bob, come"}, mentions=["bob"])
    im.ack("bob", "phone", im.conversations("bob").position)
    im.send("team", "ann", {"text": "已添加为好友"})
    im.create("busy", "ann", members=["bob"])
    for _ in range(3):
        with db.engine.lock:  # in-boxes of several pages, quickly
            draft = db.engine.begin()
            messages = draft.find(b"@conv:busy")
            inbox = draft.find(b"@user:carol")
            assert messages is not None
            assert inbox is not None
            for _ in range(500):
                draft.notify([inbox.id], messages, 0, 8)
            draft.commit()
        db.flush()
    im.set("bob", "busy", {"@mute": "1"})
    im.search("ann", "nine", wait=20.0)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("looking") / "stopped"
    with timeline.open(path) as db:
        fill(db)
    return path


@pytest.fixture(scope="module")
def daemon(stopped: Path) -> Iterator[Daemon]:
    live = stopped.with_name("live")
    shutil.copytree(stopped, live)
    running = Daemon(live)
    yield running
    running.stop()


@pytest.fixture(params=["stopped", "in use", "daemon"])
def where(request: pytest.FixtureRequest, stopped: Path, daemon: Daemon) -> list[str]:
    """A directory or a daemon as it is named on the command line."""
    return {
        "stopped": [str(stopped)],
        "in use": [str(daemon.data)],
        "daemon": ["--connect", f"127.0.0.1:{daemon.port}"],
    }[request.param]


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
    assert {each["name"] for each in found["families"]} >= {"log", "segments", "state"}
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


def test_search_marks_the_matches_and_shows_a_user_what_he_may_see(where: list[str]) -> None:
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
        assert db.messaging._write(deletion.step), "there is more to do"
    assert "being deleted" in printed("conversation", str(tmp_path / "data"), "town")


# --- watching -------------------------------------------------------------------------------------


class Followed:
    """`timeline tail -f …` as a process of its own, read line by line."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [TIMELINE, "tail", "-f", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGINT)
        _, problems = self.process.communicate(timeout=30)
        return self.process.returncode, problems


@pytest.mark.parametrize("of", ["daemon", "directory"])
@pytest.mark.parametrize("what", ["timeline", "inbox", "log"])
def test_tail_follows_what_comes_until_ctrl_c(daemon: Daemon, of: str, what: str) -> None:
    client = daemon.client(decode_responses=True)
    where = ["--connect", f":{daemon.port}"] if of == "daemon" else [str(daemon.data)]
    head = client.execute_command("XADD", "followed", "*", "n", "0")
    client.execute_command("CONV.CREATE", "talk", "-", "MEMBERS", 1, "zoe")
    client.execute_command("CONV.SEND", "talk", "zoe", "*", "text", "before")
    named = {"timeline": ["followed"], "inbox": ["@user:zoe"], "log": ["--log"]}[what]
    following = Followed(*where, *named, "-n", "1")
    try:
        shown = [following.line()]
        for number in range(3):
            if what == "inbox":
                client.execute_command("CONV.SEND", "talk", "zoe", "*", "text", str(number))
            else:
                client.execute_command("XADD", "followed", "*", "n", str(number))
            shown.append(following.line())
    finally:
        status, problems = following.stop()
    assert (status, problems) == (130, "stopped\n")
    if what == "timeline":
        first = int(head.partition("-")[0])
        assert [line.split()[0] for line in shown] == [f"{first + n}-0" for n in range(4)]
    else:
        numbers = [int(line.split()[0].partition("-")[0]) for line in shown]
        assert numbers == sorted(set(numbers)), "each once, in order"


def test_top_shows_rates_lag_and_what_is_hot(daemon: Daemon) -> None:
    client = daemon.client()
    where = ["--connect", f":{daemon.port}"]
    writing = subprocess.Popen(
        [TIMELINE, "top", *where, "--once", "--json", "--interval", "1.5"],
        stdout=subprocess.PIPE,
        text=True,
    )
    while writing.poll() is None:
        for _ in range(20):
            client.execute_command("XADD", "hot", "*", "n", "1")
    assert writing.stdout is not None
    found = json.loads(writing.stdout.read())
    writing.stdout.close()
    assert found["commits"] > 0
    assert found["group_commits"] >= 1
    assert found["hottest"][0]["timeline"] == "hot"
    assert found["consumers"].keys() == {"index"}
    text = printed("top", *where, "--once", "--interval", "0.1")
    for word in ("commits/s", "fsync", "index behind", "connections"):
        assert word in text


def test_top_is_a_live_view_on_a_terminal(daemon: Daemon) -> None:
    ours, theirs = pty.openpty()
    words = [str(TIMELINE), "top", "--connect", f":{daemon.port}", "--interval", "0.1"]
    process = subprocess.Popen(
        words, stdout=theirs, stderr=subprocess.PIPE, text=True, env={**os.environ, "TERM": "xterm"}
    )
    shown = b""
    deadline = time.monotonic() + 30
    try:
        while shown.count(b"commits/s") < 2 and time.monotonic() < deadline:
            if select.select([ours], [], [], 1.0)[0]:
                shown += os.read(ours, 1 << 16)
        process.send_signal(signal.SIGINT)
        _, problems = process.communicate(timeout=30)
    finally:
        process.kill()
        os.close(theirs)
        os.close(ours)
    assert shown.count(b"commits/s") >= 2, shown
    assert (process.returncode, problems) == (130, "stopped\n")


def test_ctrl_c_at_any_time_is_a_word_at_most(stopped: Path, tmp_path: Path) -> None:
    """While it loads, opens, reads or ends; nothing is left behind."""
    for delay in range(24):
        process = subprocess.Popen(
            [TIMELINE, "cat", stopped, "room:001", "--reverse"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        try:
            process.wait(0.08 + delay * 0.03)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        _, problems = process.communicate(timeout=30)
        assert process.returncode in (0, 1, 130, -signal.SIGINT)
        quiet = problems in ("", "stopped\n", "\nAborted!\n")
        assert quiet or "<frozen site>" in problems, "but for the interpreter's own start"
        assert not list(tmp_path.iterdir())


def test_the_reader_of_a_pipe_may_have_seen_enough(stopped: Path) -> None:
    ran = subprocess.run(
        f"{TIMELINE} cat {stopped} room:001 | head -n 2",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert len(ran.stdout.splitlines()) == 2
    assert ran.stderr == ""
    assert "\x1b" not in ran.stdout, "no colours in a pipe"


# --- what cannot be -------------------------------------------------------------------------------


def refused(*arguments: str) -> str:
    """The one line with which a call is refused, status 1."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def test_what_is_not_there_is_one_line(where: list[str]) -> None:
    assert "no timeline 'team': is '@conv:team' meant?" in refused("cat", *where, "team")
    assert "no timeline" in refused("tail", *where, "nothing")
    assert "no timeline" in refused("inspect", *where, "nothing")
    assert "no segment" in refused("inspect", *where, "room:001", "--segment", "9999")
    assert "no conversation 'nothing'" in refused("conversation", *where, "nothing")
    assert "no such user" in refused("user", *where, "nobody")
    assert "no times" in refused("cat", *where, "@user:bob", "--since", "1h")
    assert "no longer holds" in refused("cat", *where, "--log", "--from", "1")
    assert "no word in this query" in refused("search", *where, "!!!")


@pytest.mark.parametrize("verb", ["inspect", "ls", "stats"])
def test_what_is_no_store_is_one_line_and_is_left_alone(tmp_path: Path, verb: str) -> None:
    assert "is no Timeline store" in refused(verb, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_store_of_a_newer_version_is_named(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "data", search=False) as db:
        storage = db.engine.store.storage
        batch = storage.batch()
        batch.put(META, STORE_KEY, encode_store(StoreRow(FORMAT + 1, 7)))
        storage.write(batch)
    assert f"has format {FORMAT + 1}" in refused("ls", str(tmp_path / "data"))


def test_damage_is_one_line_and_a_damaged_segment_is_shown(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "data", search=False) as db:
        db.timeline("audit").append_many([{"n": str(number)} for number in range(600)])
        db.engine.seal()
        storage = db.engine.store.storage
        (key, value), *_ = storage.scan(SEGMENTS, b"", b"\xff" * 17)
        batch = storage.batch()
        batch.put(SEGMENTS, key, value[:-9] + b"\0" + value[-8:])
        storage.write(batch)
    where = str(tmp_path / "data")
    assert "damaged" in refused("cat", where, "audit")
    assert len(printed("cat", where, "audit", "--from", "257").splitlines()) == 600 - 256
    result = run("inspect", where, "audit", "--segment", "1", "--hex")
    assert result.exit_code == 1
    assert "wrong: the segment of timeline" in result.output
    assert "00000000  01 00" in result.output


def test_a_log_without_its_end_is_one_line(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "data", search=False) as db:
        for number in range(20):
            db.timeline("audit").append({"n": str(number)})
        copy_as_killed(db, tmp_path / "cut")
    (wal,) = (tmp_path / "cut" / "rocks").glob("*.log")
    wal.write_bytes(wal.read_bytes()[:-200])
    assert "were acknowledged" in refused("ls", str(tmp_path / "cut"))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["cat"], "name a DIRECTORY"),
        (["cat", "{}"], "name a timeline, or --log"),
        (["cat", "{}", "a", "--log"], "--log takes no name"),
        (["cat", "{}", "--log", "--reverse"], "the log is read forwards"),
        (["cat", "{}", "a", "--since", "yesterday"], "is no time"),
        (["inspect", "{}", "--segment", "1"], "name it"),
        (["inspect", "{}", "a", "--hex"], "--segment"),
        (["search", "{}", "x", "--sender", "ann"], "--sender goes with --user"),
        (["search", "{}", "x", "--user", "ann", "--timeline", "a"], "leave --timeline out"),
        (["top"], "--connect"),
        (["ls", "nowhere"], "does not exist"),
    ],
)
def test_a_mistake_in_the_call_is_told(stopped: Path, arguments: list[str], problem: str) -> None:
    result = run(*(each.format(stopped) for each in arguments))
    assert result.exit_code == 2
    assert problem in result.stderr


def test_no_daemon_and_no_room_for_temporary_files(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no daemon answers" in refused("top", "--connect", "127.0.0.1:1")
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    assert "set TMPDIR" in refused("ls", str(stopped))


def test_an_index_of_other_fields_is_named(stopped: Path) -> None:
    assert "holds no index of the fields body" in refused(
        "search", str(stopped), "nine", "--field", "body"
    )


@pytest.mark.parametrize("verb", sorted(main.commands))
def test_help_has_examples(verb: str) -> None:
    text = printed(verb, "--help")
    assert "Examples:" in text
    assert f"timeline {verb}" in text


def test_the_version_is_that_of_the_package() -> None:
    assert printed("--version") == "timeline, version 0.1.0\n"


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1700000000000", 1_700_000_000_000),
        ("2023-11-14", 1_699_920_000_000),
        ("2023-11-14T22:13:20", 1_700_000_000_000),
        ("2023-11-14T23:13:20.5+01:00", 1_700_000_000_500),
    ],
)
def test_a_time_is_written_as_people_do(text: str, milliseconds: int) -> None:
    assert MOMENT.convert(text, None, None) == milliseconds


@pytest.mark.parametrize(
    ("text", "ago"), [("90s", 90_000), ("1.5h", 5_400_000), ("2d", 172_800_000), ("5ms", 5)]
)
def test_a_time_is_so_long_ago(text: str, ago: int) -> None:
    now = time.time() * 1000
    assert now - ago - 1 <= MOMENT.convert(text, None, None) <= time.time() * 1000 - ago + 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"plain", "plain"),
        (b"two words", '"two words"'),
        (b"", '""'),
        (b'say "so"', '"say \\"so\\""'),
        (b"a\nb\x1b[2J", "a\\nb\\x1b[2J"),
        (b"\xff\x00", "\\xff\\x00"),
        ("\u202eabc".encode(), "\\u202eabc"),
        ("已添加".encode(), "已添加"),
    ],
)
def test_a_value_cannot_break_its_line(value: bytes, shown: str) -> None:
    assert escaped(value) == shown
