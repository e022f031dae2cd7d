"""Ages (`30d`), sizes (`10GiB`) and moments (`2026-11-24`) among the arguments of a verb."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
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


class _Moment(click.ParamType[int]):
    """A moment: `2026-11-24`, `2026-11-24T23:50`, `2h` ago, or milliseconds since 1970."""

    name = "time"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        text = str(value)
        if text.isdigit() and len(text) > 8:
            return int(text)
        with suppress(ValueError):
            return round(time.time() * 1000) - amounts.milliseconds(text)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(
                f"{text!r} is no time: write 2026-11-24, 2026-11-24T23:50 (UTC), 2h (ago), or "
                "milliseconds since 1970",
                param,
                ctx,
            )
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


MOMENT: Final = _Moment()  # milliseconds since 1970
