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

PROGRAM: Final = Path(sys.executable).parent / "timeline"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "completion", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def completed(typed: str, cwd: Path) -> list[str]:
    """What bash offers at the end of `typed`, by the script that is printed."""
    words = typed.split(" ")
    program = (
        f'eval "$({PROGRAM} completion bash)"\n'
        f"COMP_WORDS=({shlex.join(words)})\n"
        f"COMP_CWORD={len(words) - 1}\n"
        f"_timeline_completion {PROGRAM}\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
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
    return done.stdout.split()


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
    assert completed("timeline compl", tmp_path) == ["completion"]
    assert {"inspect", "reindex", "completion"} <= set(completed("timeline ", tmp_path))
    assert completed("timeline completion f", tmp_path) == ["fish"]
    assert "--connect" in completed("timeline reindex --", tmp_path)


def test_the_help_says_how_to_install_it() -> None:
    found = run("--help").stdout
    for place in ("~/.bashrc", "~/.zshrc", "~/.config/fish/completions/timeline.fish"):
        assert place in found
