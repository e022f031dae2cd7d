"""The promise: `timeline --help` shows every verb under its purpose, uncut and fast."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.tools.looks import printed
from timeline_tools import main as entry
from timeline_tools.main import main

NAMES = main.list_commands(click.Context(main))
TOOLS = Path(entry.__file__).parent


def test_the_help_groups_every_verb_and_cuts_nothing() -> None:
    shown = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    assert "..." not in shown.partition("\n")[2], "which is where click cuts"
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    heads = [line.rstrip(":") for line in lines if line.endswith(":") and line[0] != " "]
    assert heads == ["Options", "Look", "Take care", "Move", "Other"]
    said = [line.split()[0] for line in lines[lines.index("Look:") :] if line.startswith("  ")]
    assert said == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_verb_is_where_the_table_says(name: str) -> None:
    verb = main.get_command(click.Context(main), name)
    assert verb is not None
    assert verb.name == name


def test_every_verb_is_in_the_table() -> None:
    made = [
        path.stem for path in TOOLS.rglob("*.py") if "\n@verb(" in path.read_text(encoding="utf-8")
    ]
    assert len(made) == len(NAMES)


def test_what_is_no_verb_is_refused() -> None:
    for verb, said in (
        ("frobnicate", "No such command 'frobnicate'"),
        ("verfy", "there is no verb 'verfy': did you mean verify?"),
        ("LS", "there is no verb 'LS': did you mean ls?"),
    ):
        found = CliRunner().invoke(main, [verb])
        assert found.exit_code == 2
        assert said in found.output


def test_no_verb_waits_for_what_others_need() -> None:
    """Nor does the help, or a shell that completes."""
    program = (
        "import sys, timeline_tools.__main__ as tool\n"
        "loaded = {'rich', 'numpy', 'timeline', 'rocksdict', 'tantivy'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "tool.main(['--help'], standalone_mode=False)\n"
        "assert not {'rich', 'numpy', 'timeline'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("verb", NAMES)
def test_help_has_examples(verb: str) -> None:
    text = printed(verb, "--help")
    assert "Examples:" in text
    assert f"timeline {verb}" in text


def test_the_version_is_that_of_the_package() -> None:
    assert printed("--version") == "timeline, version 0.1.0\n"


@pytest.mark.parametrize("verb", ["verify", "repair", "compact", "trim", "retention"])
def test_help_has_an_example_with_a_directory(verb: str) -> None:
    text = printed(verb, "--help")
    assert "Examples:" in text
    assert f"timeline {verb} data" in text
