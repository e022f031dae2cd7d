"""The promise: docs/configuration.md has every option with its default and what it means, and the
configuration that is shipped is one that works.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from timeline.errors import UsageError
from timeline_server.config import config, help as optionhelp
from timeline_server.config.config import Option

DOCS: Final = Path(__file__).parents[3] / "docs"
PAGE: Final = (DOCS / "configuration.md").read_text("utf-8")


def shown(option: Option) -> str:
    """A default as it may be given."""
    text = optionhelp.shown(option.name, option.default)
    return f"`{text}`" if text else "empty"


def row(option: Option) -> str:
    return f"| `{option.name}` | {shown(option)} | {option.text} |"


def test_every_option_is_there_as_it_is() -> None:
    expected = [row(option) for option in config.options()]
    found = re.findall(r"^\| `\w+` \|.*\|$", PAGE, re.MULTILINE)
    lacking = [each for each in expected if each not in found]
    assert not lacking, "docs/configuration.md is to have these rows:\n" + "\n".join(lacking)
    assert sorted(found) == sorted(expected), "and no others"


def test_the_help_and_the_page_group_them_alike() -> None:
    groups = {title: names.split() for title, names in optionhelp.GROUPS.items()}
    names = [name for group in groups.values() for name in group]
    assert sorted(names) == sorted(option.name for option in config.options())
    sections = dict(part.split("\n", 1) for part in PAGE.split("\n## ")[1:])
    assert groups == {
        title: re.findall(r"^\| `(\w+)` ", text, re.MULTILINE) for title, text in sections.items()
    }


def test_the_help_shows_amounts_as_people_write_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        config.load(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("usage: timelined [--config FILE] [--OPTION VALUE ...]")
    for part in ("Commits and memory:", "--request-bytes SIZE", "(16 MiB)", "(10 min)", "(90 d)"):
        assert part in text
    assert "16777216" not in text


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("unsealed_bytes", "16 MiB", 16 << 20),
        ("unsealed_bytes", "16mib", 16 << 20),
        ("unsealed_bytes", "16m", 16 << 20),
        ("unsealed_bytes", " 1 GiB ", 1 << 30),
        ("unsealed_bytes", "16 MB", 16 << 20),
        ("unsealed_bytes", "1.5g", 3 << 29),
        ("unsealed_bytes", "65536", 65_536),
        ("seal_after_ms", "10 min", 600_000),
        ("seal_after_ms", "90d", 7_776_000_000),
        ("seal_after_ms", "250", 250),
        ("seal_after_ms", "250 ms", 250),
        ("seal_after_ms", "12 h", 43_200_000),
        ("seal_after_ms", "5m", 300_000),
        ("slice_ms", "2 ms", 2),
        ("slice_ms", "0.5", 0.5),
        ("seal_after_ms", "2w", 1_209_600_000),
    ],
)
def test_amounts_are_taken_as_people_write_them_wherever_they_are_given(
    tmp_path: Path, name: str, given: str, value: float
) -> None:
    file = tmp_path / "timelined.toml"
    file.write_text(f'{name} = "{given}"\n')
    for argv, environment in (
        (["--" + name.replace("_", "-"), given], {}),
        ([], {"TIMELINED_" + name.upper(): given}),
        (["--config", str(file)], {}),
    ):
        assert getattr(config.load(argv, environment).engine, name) == value


@pytest.mark.parametrize(
    ("name", "given", "takes"),
    [
        ("unsealed_bytes", "16 MeB", "a size such as 64 KiB"),
        ("unsealed_bytes", "MiB", "a size such as 64 KiB"),
        ("unsealed_bytes", "1000000.5", "a size such as 64 KiB"),
        ("tails", "1.5", "a number"),
        ("seal_after_ms", "10 fortnights", "a time such as 30 s"),
        ("seal_after_ms", "64k", "a time such as 30 s"),
        ("tails", "many", "a number"),
    ],
)
def test_what_is_no_amount_is_told_what_is(name: str, given: str, takes: str) -> None:
    with pytest.raises(UsageError, match=f"{name} takes {takes}, not '{given}'"):
        config.load(["--" + name.replace("_", "-"), given], {})


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


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--port -1", "nobody could connect"),
        ("--socket s --socket-mode 9", "socket_mode is octal, such as 770"),
        ("--socket s --socket-mode 0o770", "socket_mode is octal, such as 770"),
        ("--timeout -1", "timeout must be at least 0"),
        ("--tcp-keepalive -1", "tcp_keepalive must be at least 0"),
    ],
)
def test_what_cannot_be_listened_with_is_refused(words: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        config.load(words.split(), {})


def test_the_path_of_a_socket_is_resolved_at_the_start() -> None:
    found = config.load(["--socket", "s", "--port", "-1"], {})
    assert found.settings.socket == str(Path("s").absolute())


@pytest.mark.parametrize("port", ["-2", "65536"])
def test_a_metrics_port_is_a_port(port: str) -> None:
    with pytest.raises(UsageError, match="metrics_port"):
        config.load(["--metrics-port", port], {})
