"""Turns rounds into rates: beside pytest-benchmark's table a line for each test says what a second
of it comes to, in the unit of performance targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

_RATES: Final = pytest.StashKey[list[str]]()


class Rate(Protocol):
    def __call__(self, work: Callable[[], Any], count: int, unit: str) -> Any: ...  # noqa: ANN401


@pytest.fixture
def rate(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Rate:
    """Run `work` as a benchmark; one call of it does `count` of `unit`. Gives what it returned."""

    def measure(work: Callable[[], Any], count: int, unit: str) -> Any:  # noqa: ANN401
        result = benchmark(work)
        if benchmark.stats is not None:  # None when run as a plain test
            per_second = count / benchmark.stats.stats.median
            line = f"{request.node.name}: {_short(per_second)} {unit}/s"
            request.config.stash.setdefault(_RATES, []).append(line)
        return result

    return measure


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    lines = config.stash.get(_RATES, [])
    if lines:
        terminalreporter.section("rates, of the median round")
    for line in lines:
        terminalreporter.line(line)


def _short(number: float) -> str:
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= unit:
            return f"{number / unit:.2f}{name}"
    return f"{number:.0f}"
