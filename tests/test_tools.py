"""The promise: docs/tools.md describes every verb with the options that it has, and its examples
print what is shown.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

import click
import pytest

from tests.server.daemon import Daemon
from tests.tools.looks import run
from timeline_tools.main import main

PAGE: Final = (Path(__file__).parent.parent / "docs" / "tools.md").read_text("utf-8")
SECTIONS: Final = dict(
    re.findall(r"^### (\w+)\n(.*?)(?=^##)", PAGE + "\n##", re.MULTILINE | re.DOTALL)
)
EXAMPLES: Final = re.compile(r"^```(console|live)\n(.*?)^```", re.MULTILINE | re.DOTALL)

# What is another each time, and how it is compared.
_VARIES: Final = (
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<time>"),
    (r"\b1[789]\d{11}\b", "<time>"),
    (r"\b\d+-\d+-\d+\b", "<cursor>"),
    (r"[\d.,]+ (?:B|KiB|MiB|bytes)\b", "<size>"),
    (r"\d+ files", "<files>"),
    (r" +", " "),
    (r" +$", ""),
)


def plain(text: str) -> str:
    for found, shown in _VARIES:
        text = re.sub(found, shown, text, flags=re.MULTILINE)
    return text


def labels(text: str) -> set[str]:
    """The words that begin a line: what stays of figures that are measured."""
    return {line.split()[0] for line in text.splitlines() if line[:1].isalpha()}


def test_every_verb_has_a_section_in_the_order_of_the_help() -> None:
    assert list(SECTIONS) == main.list_commands(click.Context(main))


@pytest.mark.parametrize("name", SECTIONS)
def test_the_options_of_a_section_are_those_of_the_verb(name: str) -> None:
    verb = main.get_command(click.Context(main), name)
    assert verb is not None
    there = {each for param in verb.params for each in (*param.opts, *param.secondary_opts)}
    assert set(re.findall(r"(?<![\w-])--[a-z-]+", SECTIONS[name])) <= there


def test_every_example_prints_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    exec(compile(program, "tools.md", "exec"), {})
    daemon = Daemon(tmp_path / "live")
    try:
        for kind, block in EXAMPLES.findall(PAGE):
            for shown in re.split(r"^\$ timeline ", block, flags=re.MULTILINE)[1:]:
                line, _, expected = shown.partition("\n")
                printed = run(*shlex.split(line.replace(":7420", f":{daemon.port}"))).output
                printed = printed.replace(f"{tmp_path}/", "/srv/")
                if kind == "live":
                    assert labels(expected) <= labels(printed), line
                else:
                    assert plain(printed) == plain(expected), line
    finally:
        daemon.stop()
