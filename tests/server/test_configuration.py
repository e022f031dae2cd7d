"""The promise: docs/configuration.md has every option with its default and what it means, and the
configuration that is shipped is one that works.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from timeline.errors import UsageError
from timeline_server import config
from timeline_server.config import Option

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = (DOCS / "configuration.md").read_text("utf-8")
UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))
SIZES: Final = ((1 << 20, "m"), (1 << 10, "k"))


def shown(option: Option) -> str:
    """A default as it would be given; times with what they are in units that people know."""
    value = option.default
    if option.kind is bool:
        return f"`{str(value).lower()}`"
    text = config.as_given(value)
    if not text:
        return "empty"
    if option.kind is int:
        for size, letter in SIZES if "bytes" in option.name or option.name == "arguments" else ():
            if value and value % size == 0:
                return f"`{value // size}{letter}`"
        for length, unit in UNITS if option.name.endswith("_ms") else ():
            if value >= length and value % length == 0:
                return f"`{text}` ({value // length} {unit})"
    return f"`{text}`"


def row(option: Option) -> str:
    return f"| `{option.name}` | {shown(option)} | {option.text} |"


def test_every_option_is_there_as_it_is() -> None:
    expected = [row(option) for option in config.options()]
    found = re.findall(r"^\| `\w+` \|.*\|$", PAGE, re.MULTILINE)
    lacking = [each for each in expected if each not in found]
    assert not lacking, "docs/configuration.md is to have these rows:\n" + "\n".join(lacking)
    assert sorted(found) == sorted(expected), "and no others"


@pytest.mark.parametrize("option", tuple(config.options()), ids=lambda option: option.name)
def test_a_default_may_be_given_as_it_is_shown(option: Option) -> None:
    if shown(option) != "empty":
        given = shown(option).split("`")[1]
        assert option.read(given, "here") == option.default


def test_every_option_says_what_it_is() -> None:
    for option in config.options():
        assert option.text != "an option of the engine", f"{option.name} has no help"


def test_what_the_page_says_of_sources_is_so(tmp_path: Path) -> None:
    """The examples: one option in each of its three spellings."""
    for text in ("--unsealed-bytes 64m", "TIMELINED_UNSEALED_BYTES=64m", 'unsealed_bytes = "64m"'):
        assert text in PAGE
    file = tmp_path / "timelined.toml"
    file.write_text('unsealed_bytes = "64m"\n')
    for argv, environment in (
        (["--unsealed-bytes", "64m"], {}),
        ([], {"TIMELINED_UNSEALED_BYTES": "64m"}),
        (["--config", str(file)], {}),
    ):
        found = config.load(argv, environment)
        assert found.engine.unsealed_bytes == 64 << 20
        assert found.file == (str(file) if argv[:1] == ["--config"] else "")


def test_the_configuration_that_is_shipped_loads() -> None:
    found = config.load(["--config", str(DOCS / "deploy" / "timelined.toml")], {})
    assert found.settings.metrics_port == 7421
    assert found.engine.durability == "sync"


@pytest.mark.parametrize("port", ["-2", "65536"])
def test_a_metrics_port_is_a_port(port: str) -> None:
    with pytest.raises(UsageError, match="metrics_port"):
        config.load(["--metrics-port", port], {})
