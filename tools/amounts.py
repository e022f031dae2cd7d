"""Amounts as people write them on the command line: ages (`30d`) and sizes (`10GiB`)."""

from __future__ import annotations

import re
from typing import Any, Final

import click

from timeline.formats.keys import MAX

_AGES: Final = {
    "ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000,
}  # fmt: skip
_SIZES: Final = {
    "": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40,
    "kb": 1_000, "mb": 1_000**2, "gb": 1_000**3, "tb": 1_000**4,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}  # fmt: skip
_AMOUNT: Final = re.compile(r"([0-9]+)\s*([a-z]*)")


class _Amount(click.ParamType[int]):
    def __init__(self, name: str, units: dict[str, int], example: str) -> None:
        self.name = name
        self._units = units
        self._example = example

    def convert(self, value: Any, param: Any, ctx: Any) -> int:  # noqa: ANN401  as click has it
        if isinstance(value, int):
            return value
        match = _AMOUNT.fullmatch(str(value).strip().lower())
        if match is None or match[2] not in self._units:
            self.fail(f"{value!r} is no {self.name}, such as {self._example}", param, ctx)
        amount = int(match[1]) * self._units[match[2]]
        if amount > MAX:
            self.fail(f"{value!r} is more than can be counted", param, ctx)
        return amount


AGE: Final = _Amount("age", _AGES, "90s, 12h or 30d")  # milliseconds
SIZE: Final = _Amount("size", _SIZES, "500M or 10GiB")  # bytes


def age(milliseconds: int) -> str:
    """An age as people write it, in the largest unit that is whole."""
    for unit in ("w", "d", "h", "m", "s"):
        if milliseconds and milliseconds % _AGES[unit] == 0:
            return f"{milliseconds // _AGES[unit]}{unit}"
    return f"{milliseconds}ms"
