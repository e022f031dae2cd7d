"""Ages (`30d`) and sizes (`10GiB`) among the arguments of a verb."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from timeline import amounts
from timeline.formats.keys import MAX


class _Amount(click.ParamType[int]):
    def __init__(self, name: str, read: Callable[[str], int], example: str) -> None:
        self.name = name
        self._read = read
        self._example = example

    def convert(self, value: Any, param: Any, ctx: Any) -> int:  # noqa: ANN401  as click has it
        if isinstance(value, int):
            return value
        try:
            amount = self._read(str(value))
        except ValueError:
            self.fail(f"{value!r} is no {self.name}, such as {self._example}", param, ctx)
        if amount > MAX:
            self.fail(f"{value!r} is more than can be counted", param, ctx)
        return amount


AGE: Final = _Amount("age", amounts.milliseconds, "90s, 12h or 30d")  # milliseconds
SIZE: Final = _Amount("size", amounts.size, "500M or 10GiB")  # bytes
