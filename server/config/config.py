"""The options of the daemon: defaults < TOML file < environment < command line.

Rule: an option exists in one place, a field of `Settings` or of the engine's `Options`. It has one
name everywhere: `--inline-bytes`, `TIMELINED_INLINE_BYTES`, `inline_bytes` in the file and in
CONFIG GET. Sizes and times take a unit (64k, 16 MiB, 30 s). Nothing here opens or listens.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn, get_origin, get_type_hints

from timeline import amounts
from timeline.errors import UsageError
from timeline.form import compiled
from timeline.options import Options, anchored

from .help import GROUPS, is_size, is_time, placeholder, shown
from .settings import Settings

try:
    VERSION = version("timeline-engine")
except PackageNotFoundError:  # run from a checkout that is not installed
    VERSION = "0.1.0"
FORM = "compiled" if compiled else "interpreted"  # its hot modules
_PREFIX = "TIMELINED_"


@dataclass(frozen=True, slots=True)
class Option:
    """One option as a user meets it: `kind` is str, int, float, bool, or tuple for names."""

    name: str
    kind: type
    default: Any
    text: str
    engine: bool

    def read(self, value: object, source: str) -> Any:  # noqa: ANN401  as `kind` says
        """The value of this option from text or TOML. Raises `UsageError`."""
        try:
            if self.kind is bool:
                return _boolean(value)
            if self.kind is int:
                return _amount(self.name, value)
            if self.kind is float:
                return _amount(self.name, value) if _has_unit(value) else float(str(value))
            if self.kind is tuple:
                return _names(value)
            return str(value)
        except ValueError:
            raise UsageError(
                f"{source}: {self.name} takes {self._takes()}, not {value!r}"
            ) from None

    def _takes(self) -> str:
        if is_size(self.name):
            return "a size such as 64 KiB"
        if is_time(self.name):
            return "a time such as 30 s"
        return _KINDS[self.kind]


_KINDS = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    tuple: "names, separated by commas",
}


def _boolean(value: object) -> bool:
    text = str(value).lower()
    if text in ("true", "yes", "on", "1"):
        return True
    if text in ("false", "no", "off", "0"):
        return False
    raise ValueError


def _names(value: object) -> tuple[str, ...]:
    each = value if isinstance(value, list) else str(value).split(",")
    return tuple(name for part in each if (name := str(part).strip()))


def _amount(name: str, value: object) -> int:
    """A number. An option of milliseconds takes a time with a unit, any other a size with one."""
    text = str(value).strip()
    if not is_time(name):
        return int(text) if text.startswith("-") else amounts.size(text)
    return amounts.milliseconds(text) if _has_unit(value) else int(text)


def _has_unit(value: object) -> bool:
    return str(value).strip()[-1:].isalpha()


def options() -> Iterator[Option]:
    """Every option of the daemon, then of the engine."""
    for owner, engine in ((Settings, False), (Options, True)):
        hints = get_type_hints(owner)
        for item in dataclasses.fields(owner):
            if engine and item.name == "fsync":  # the daemon's own, which also knows `auto`
                continue
            hint = get_origin(hints[item.name]) or hints[item.name]
            kind = hint if hint in _KINDS else str
            yield Option(item.name, kind, item.default, item.metadata["help"], engine)


@dataclass(frozen=True, slots=True)
class Configuration:
    settings: Settings
    engine: Options
    file: str = ""  # that was read, by its absolute path


def load(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> Configuration:
    """The configuration that the command line, the environment and the file give together.

    Raises `UsageError`; `--help` and `--version` print and exit with status 0.
    """
    environment = os.environ if environment is None else environment
    known = {option.name: option for option in options()}
    given = _from_words(argv, known)
    _check_names(environment, known)
    file = given.pop("config") or environment.get(_variable("config"))
    values: dict[str, Any] = {}
    if file:
        values.update(_from_file(Path(file), known))
    for name, option in known.items():
        text = environment.get(_variable(name))
        if text is not None:
            values[name] = option.read(text, _variable(name))
    for name, text in given.items():
        if text is not None:
            values[name] = known[name].read(text, _word(name))
    settings = Settings(**{name: value for name, value in values.items() if not known[name].engine})
    engine = Options(**{name: value for name, value in values.items() if known[name].engine})
    return Configuration(
        settings.anchored(), engine.anchored(), str(anchored(file)) if file else ""
    )


def as_given(value: object) -> str:
    """A value as it would be given."""
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _from_file(path: Path, known: Mapping[str, Option]) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise UsageError(f"cannot read the configuration {path}: {problem}") from None
    values = {}
    for name, value in content.items():
        option = known.get(name.replace("-", "_"))
        if option is None:
            raise UsageError(f"{path}: there is no option {name}{_nearest(name, known)}")
        values[option.name] = option.read(value, str(path))
    return values


def _variable(name: str) -> str:
    return _PREFIX + name.upper()


def _word(name: str) -> str:
    return "--" + name.replace("_", "-")


def _nearest(name: str, known: Iterable[str], written: Callable[[str], str] = str) -> str:
    """How the refusal of an unknown name ends."""
    near = get_close_matches(name, known, 1)
    return f": did you mean {written(near[0])}?" if near else "; see timelined --help"


def _check_names(environment: Mapping[str, str], known: Iterable[str]) -> None:
    """A misspelt variable is refused. Otherwise a default would hold where none is wanted."""
    ours = {_variable(name): name for name in (*known, "config")}
    for name in environment:
        if name.startswith(_PREFIX) and name not in ours:
            meant = name.removeprefix(_PREFIX).lower()
            near = _nearest(meant, ours.values(), _variable)
            raise UsageError(f"there is no variable {name}{near}")


def _from_words(argv: Sequence[str], known: Mapping[str, Option]) -> dict[str, Any]:
    found, rest = _arguments(known).parse_known_args(argv)
    if rest:
        name = rest[0].partition("=")[0]
        meant = name.lstrip("-").replace("-", "_")
        near = _nearest(meant, (*known, "config", "version", "help"), _word)
        raise UsageError(f"there is no argument {name}{near}")
    return vars(found)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see timelined --help")


def _arguments(known: Mapping[str, Option]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="timelined",
        usage="timelined [--config FILE] [--OPTION VALUE ...]",
        description="The daemon of Timeline: timelines that any Redis client appends to and reads.",
        epilog="Sizes are bytes, or 64 KiB, 16 MiB, 1 GiB; times milliseconds, or 30 s, 10 min, "
        "12 h, 90 d. "
        "Every option is also read from the TOML file and, in capitals after "
        f"{_PREFIX}, from the environment ({_PREFIX}PORT=7420). The command line wins over the "
        "environment, that over the file. Exit status: 0 when it was asked to stop, 1 when it "
        "cannot serve, 2 when an option is wrong.",
        allow_abbrev=False,
        formatter_class=partial(argparse.HelpFormatter, max_help_position=36),
    )
    parser.add_argument("--version", action="version", version=f"timelined {VERSION} ({FORM})")
    parser.add_argument("--config", metavar="FILE", help="TOML file with options")
    for title, names in GROUPS.items():
        group = parser.add_argument_group(title)
        for option in map(known.__getitem__, names.split()):
            default = shown(option.name, option.default)
            group.add_argument(
                _word(option.name),
                dest=option.name,
                metavar=placeholder(option.name, option.kind),
                help=(option.text + (f" ({default})" if default else "")).replace("%", "%%"),
            )
    return parser
