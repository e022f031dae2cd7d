"""The promise: a time is written as people do, and is the same moment everywhere."""

from __future__ import annotations

import time

import pytest

from timeline_tools.cli.amounts import MOMENT


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
