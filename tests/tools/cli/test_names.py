"""The promise: names may be any bytes; they are found, and none breaks a line or a terminal."""

from __future__ import annotations

import json
import os
import subprocess
from itertools import product
from pathlib import Path
from subprocess import PIPE

import pytest

import timeline
from tests.tools.installed import PROGRAM, done, refused

NAME = b"\xff\x1b[31m\n"
SHOWN = r"\xff\x1b[31m\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("names") / "store"
    with timeline.open(path, search=False) as db:
        db.timeline(NAME).append_many([{"n": str(number)} for number in range(3)])
        db.timeline(NAME).set_metadata({"title": "\x1b[31mred\nand more"})
        db.timeline("添加").append({"text": "添加"})
        db.messaging.create("team", "ann", meta={"title": "\x1b[31mred\nand more"})
    return path


def test_names_that_are_not_utf_8_are_found(store: Path, tmp_path: Path) -> None:
    name = os.fsdecode(NAME)
    assert SHOWN in done("inspect", store, name)
    assert "n=0" in done("cat", store, name)
    assert done("retention", store, name) == f"{SHOWN}: everything is kept\n"
    assert json.loads(done("retention", store, name, "--json"))["timeline"] == os.fsdecode(
        NAME
    ).replace("\udcff", r"\xff")
    assert "segments" in done("compact", store, name, "--dry-run")
    assert "segments" in done("compact", store, "--prefix", name, "--dry-run")
    export = tmp_path / "export.jsonl"
    assert "5 records" in done("export", store, export, "--prefix", os.fsdecode(b"\xff"))
    assert "0 entries were removed" in done("trim", store, name, "--length", "3")


@pytest.mark.parametrize(
    "verb",
    [["cat"], ["inspect"], ["compact"], ["retention"], ["trim", "--length", "1"], ["conversation"]],
)
def test_a_name_that_is_not_there_is_one_line(store: Path, verb: list[str]) -> None:
    name = os.fsdecode(NAME + b"no")
    assert SHOWN + "no" in refused(verb[0], store, name, *verb[1:])


def test_what_must_be_text_is_refused_when_it_is_not(store: Path) -> None:
    wrong = os.fsdecode(b"x\xff")
    assert r"'x\xff'" in refused("export", store, "-", "--prefix", wrong)
    assert "UTF-8" in refused("user", store, wrong)


@pytest.mark.parametrize("what", [["inspect", os.fsdecode(NAME)], ["conversation", "team"]])
def test_what_somebody_wrote_moves_no_terminal(store: Path, what: list[str]) -> None:
    printed = done(what[0], store, what[1])
    assert "\x1b" not in printed
    assert r"\x1b[31mred\nand more" in printed


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8:strict"])
def test_what_a_terminal_cannot_show_is_escaped(store: Path, encoding: str) -> None:
    for words in (["cat", store, "添加"], ["inspect", store, os.fsdecode(b"no\xff")]):
        ran = subprocess.run(
            [PROGRAM, *map(str, words)],
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )
        assert b"Traceback" not in ran.stderr, ran.stderr


def test_paths_may_be_any_bytes(store: Path, tmp_path: Path) -> None:
    done("backup", store, tmp_path / os.fsdecode(b"copy\xff"))
    assert json.loads(
        done("restore", tmp_path / os.fsdecode(b"copy\xff"), tmp_path / "b", "--json")
    )


def test_what_the_system_says_is_a_sentence(store: Path, tmp_path: Path) -> None:
    calls: list[list[str | Path]] = [["ls", store], ["--help"]]
    for words, buffered in product(calls, ("", "1")):
        with Path("/dev/full").open("wb") as full:
            ran = subprocess.run(
                [PROGRAM, *words],
                stdout=full,
                stderr=PIPE,
                env={**os.environ, "PYTHONUNBUFFERED": buffered},
                check=False,
            )
        assert ran.stderr == b"Error: the disk is full: free some space\n"
        assert ran.returncode == 1
    closed: list[str | Path] = ["sh", "-c", '"$0" "$@" >&- <&-', PROGRAM]
    for verb, stream in (("export", b"output"), ("import", b"input")):
        ran = subprocess.run([*closed, verb, store, "-"], capture_output=True, check=False)
        assert ran.stderr == b"Error: standard " + stream + b" is closed: name a file\n"
    assert refused("import", tmp_path / "new", tmp_path / "no.jsonl") == (
        f"Error: {tmp_path / 'no.jsonl'}: No such file or directory\n"
    )
