"""The promise: a value is shown in one line, whatever is in it."""

from __future__ import annotations

import pytest

from timeline_tools.cli.console import escaped


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
