"""The promise: `timeline completion SHELL` prints what makes that shell complete verbs, options and
paths, run as a person would run it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from click.shell_completion import BashComplete

import timeline
from timeline_tools.main import main

PROGRAM: Final = Path(sys.executable).parent / "timeline"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "completion", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def completed(cwd: Path, *typed: str) -> list[list[str]]:
    """What bash offers at the end of each of `typed`, by the script that is printed."""
    program = f'eval "$({PROGRAM} completion bash)"\n'
    for each in typed:
        words = each.split(" ")
        program += (
            f"COMPREPLY=() COMP_WORDS=({shlex.join(words)})\n"
            f"COMP_CWORD={len(words) - 1}\n"
            f"_timeline_completion {PROGRAM}\n"
            'echo "${COMPREPLY[@]}"\n'
        )
    done = subprocess.run(
        ["bash", "--norc", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=cwd,
        env=os.environ | {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"},
    )
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(shell: str) -> None:
    found = run(shell)
    assert (found.returncode, found.stderr) == (0, "")
    assert f"_TIMELINE_COMPLETE={shell}_complete" in found.stdout
    told = json.loads(run(shell, "--json").stdout)
    assert (told["shell"], told["script"].strip()) == (shell, found.stdout.strip())
    if shutil.which(shell):  # it is what the shell understands
        checked = subprocess.run([shell, "-n"], input=found.stdout, text=True, check=False)
        assert checked.returncode == 0


def test_another_shell_is_refused_with_those_there_are() -> None:
    found = run("tcsh")
    assert found.returncode == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in found.stderr
    assert run().returncode == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_offers_verbs_and_options(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "data") as db:
        db.timeline("room:1").append({"a": "b"})
    verb, verbs, word, name, options = completed(
        tmp_path,
        "timeline compl",
        "timeline ",
        "timeline completion f",
        "timeline tail data room:",
        "timeline reindex --",
    )
    assert verb == ["completion"]
    assert {"inspect", "reindex", "completion"} <= set(verbs)
    assert word == ["fish"]
    assert name == ["room:1"]
    assert "--connect" in options


@pytest.mark.parametrize("where", ["stopped", "in use", "daemon"], indirect=True)
def test_names_are_offered_as_far_as_they_are_text(where: list[str]) -> None:
    def offered(verb: str, incomplete: str, *options: str) -> list[str]:
        asked = BashComplete(main, {}, "timeline", "_TIMELINE_COMPLETE")
        return [each.value for each in asked.get_completions([verb, *options, *where], incomplete)]

    rooms = [f"room:00{number}" for number in range(10)]
    for verb in ("cat", "tail", "inspect", "compact", "retention", "trim", "ls"):
        assert offered(verb, "room:00") == rooms
    rest = offered("tail", "", "-f")
    assert (rest[:10], len(rest)) == (rooms, 100), "and no more"
    assert offered("tail", "bin") == []
    assert offered("tail", "@conv:t", "-f") == ["@conv:team"]
    assert offered("conversation", "t") == ["team"]
    assert offered("user", "car") == ["carol"]
    assert offered("user", "--") != []


def test_what_cannot_be_asked_offers_nothing(tmp_path: Path) -> None:
    for where in (["--connect", "127.0.0.1:1"], ["--connect", "?:?"], [str(tmp_path)], []):
        asked = BashComplete(main, {}, "timeline", "_TIMELINE_COMPLETE")
        assert [each.type for each in asked.get_completions(["trim", *where], "x")] in ([], ["dir"])


def test_the_help_says_how_to_install_it() -> None:
    found = run("--help").stdout
    for place in ("~/.bashrc", "~/.zshrc", "~/.config/fish/completions/timeline.fish"):
        assert place in found
