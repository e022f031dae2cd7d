"""Amounts as people write them: sizes (`64 KiB`, `10GiB`) and times (`250 ms`, `30d`).

Rule: one meaning for the daemon's options and the tools. A unit may be written in any case, with or
without a blank before it. `k`, `kb` and `KiB` are all 1,024 bytes, and so on. `m` is MiB in a size
and a minute in a time. A size without a unit is bytes. A time always has a unit.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

_SIZES: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_TIMES: Final = {
    "ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000,
}  # fmt: skip
_SIZE_UNITS: Final = {"": 1, "b": 1} | {
    unit: amount
    for name, amount in _SIZES.items()
    for unit in (name[0].lower(), f"{name[0]}b".lower(), name.lower())
}
_TIME_UNITS: Final = _TIMES | {"m": 60_000, "w": 604_800_000}
_AMOUNT: Final = re.compile(r"(\d+(?:_\d+)*(?:\.\d+)?)\s*([a-z]*)", re.ASCII)


def size(text: str) -> int:
    """The bytes that a size stands for. Raises `ValueError`."""
    return _read(text, _SIZE_UNITS)


def milliseconds(text: str) -> int:
    """The milliseconds that a time with a unit stands for. Raises `ValueError`."""
    return _read(text, _TIME_UNITS)


def size_shown(value: int) -> str:
    """A size in the largest unit that is whole."""
    return _shown(value, _SIZES)


def time_shown(value: int) -> str:
    """A time, given in milliseconds, in the largest unit that is whole."""
    return _shown(value, _TIMES)


def _read(text: str, units: dict[str, int]) -> int:
    match = _AMOUNT.fullmatch(text.strip().lower())
    amount = Fraction(match[1]) * units[match[2]] if match and match[2] in units else None
    if amount is None or amount.denominator != 1:
        raise ValueError(text)
    return amount.numerator


def _shown(value: int, units: dict[str, int]) -> str:
    for unit, amount in reversed(units.items()):
        if value and value % amount == 0:
            return f"{value // amount} {unit}"
    return str(value)
