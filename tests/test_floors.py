"""The promise: imports point down the floors of the design, and foreign parts enter in one place.

Everything is read from the source by `ast`; nothing is imported.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parent.parent

# The floors of each of our packages, and of some folders in them, lowest first. What stands on one
# floor may import what stands beside it, as long as no circle comes of it; nothing imports upwards.
FLOORS: Final[dict[str, tuple[set[str], ...]]] = {
    "timeline": (
        {"amounts", "errors", "form", "options"},
        {"formats"},
        {"entry"},
        {"storage"},
        {"log"},
        {"lsm"},
        {"commit"},
        {"engine"},
        {"bitmaps", "fanout", "fields", "idempotency", "identity", "pullback", "search", "admin"},
        {"devices"},
        {"feeds", "messaging"},
        {"embedded", "verification"},
        {"__init__"},
    ),
    "timeline.engine": (
        {"__init__", "callbacks", "observers", "statistics"},
        {"store"},
        {"upkeep", "committer", "writecontrol"},
        {"view", "pipeline"},
        {"inboxview", "figures"},
        {"engine"},
        {"openedreadonly"},
    ),
    "timeline.messaging": (
        {"__init__", "pages"},
        {"access"},
        {"conversations"},
        {"delivery"},
        {"lists"},
        {"searching"},
        {"service"},
        {"inspection"},
    ),
    "timeline.embedded": (
        {"__init__", "calls"},
        {"reader", "transaction", "log", "feedpages"},
        {"feeds", "handle", "messaging"},
        {"database"},
    ),
    "server": (
        {"__init__", "errors", "logs"},
        {"sockets", "wire"},
        {"config", "registry"},
        {"clients"},
        {"subscriptions"},
        {"service"},
        {"commands"},
        {"connection", "monitoring"},
        {"daemon"},
        {"__main__"},
    ),
    "tools": (
        {"__init__"},
        {"sources", "histogram", "lifeline"},
        {"cli"},
        {"look", "care", "move", "bench", "completion"},
        {"main"},
        {"__main__"},
    ),
}
# By what name a folder's package is installed.
INSTALLED: Final = {"timeline_server": "server", "timeline_tools": "tools"}

# Packages of others that one module alone may know.
SOLE_IMPORTERS: Final = {
    "rocksdict": "timeline/storage/",
    "tantivy": "timeline/search/",
    "pyroaring": "timeline/bitmaps.py",
}

# What an embedder must never be given: event loops and sockets.
NOT_IN_THE_ENGINE: Final = {
    "asyncio",
    "hiredis",
    "http",
    "select",
    "selectors",
    "socket",
    "socketserver",
    "ssl",
    "uvloop",
}


class Import(NamedTuple):
    path: str  # of the importing file, from the root
    line: int
    module: str  # dotted; begins with a dot for a relative one
    names: tuple[str, ...]
    in_function: bool

    @property
    def top(self) -> str:
        return self.module.split(".", 1)[0]

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.module}"


def imports_in(tree: ast.AST, path: str, in_function: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Import(names=names):
                for name in names:
                    yield Import(path, node.lineno, name.name, (), in_function)
            case ast.ImportFrom(module=module, names=names, level=level):
                dotted = "." * level + (module or "")
                yield Import(path, node.lineno, dotted, tuple(n.name for n in names), in_function)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from imports_in(node, path, in_function=True)
            case _:
                yield from imports_in(node, path, in_function)


@cache
def imports_of(*folders: str) -> list[Import]:
    found: list[Import] = []
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("*.py")):
            path = file.relative_to(ROOT).as_posix()
            found += imports_in(ast.parse(file.read_text("utf-8"), path), path)
    return found


ENGINE: Final = imports_of("timeline")
ALL: Final = imports_of("timeline", "server", "tools")


def module_of(path: str) -> str:
    """`timeline/formats/keys.py` is `timeline.formats.keys`, a package its `__init__`."""
    return path.removesuffix(".py").replace("/", ".")


def dotted(found: Import) -> str:
    """What an import names in full, by the folder where it lies: `tools.cli.console`."""
    dots = len(found.module) - len(found.module.lstrip("."))
    if dots:
        package = found.path.split("/")[:-dots]
        return ".".join(filter(None, [*package, found.module[dots:]]))
    top, dot, rest = found.module.partition(".")
    return INSTALLED.get(top, top) + dot + rest


def targets(found: Import) -> Iterator[str]:
    """The modules of ours that an import reaches, by the names that `module_of` gives."""
    module = dotted(found)
    for name in found.names or ("",):
        for reached in (f"{module}.{name}", module):
            base = ROOT / reached.replace(".", "/")
            if base.with_suffix(".py").is_file():
                yield reached
                break
            if (base / "__init__.py").is_file():
                yield f"{reached}.__init__"
                break
        else:
            raise AssertionError(f"{found}, which is not there")


def floor(folder: str, module: str) -> int:
    part = module.removeprefix(f"{folder}.").split(".")[0]
    for height, parts in enumerate(FLOORS[folder]):
        if part in parts:
            return height
    pytest.fail(f"{module} stands on no floor: give `{part}` its place in FLOORS of {__file__}")


@cache
def edges(folder: str) -> list[tuple[Import, str, str]]:
    """The imports of a package of ours from itself: with the module and its target."""
    package = folder.partition(".")[0]
    return [
        (found, module_of(found.path), target)
        for found in imports_of(folder.replace(".", "/"))
        if dotted(found).partition(".")[0] == package
        for target in targets(found)
        if target.startswith(f"{folder}.")
    ]


def test_there_is_something_to_read() -> None:
    assert len(ENGINE) > 50
    assert len(ALL) > len(ENGINE)


@pytest.mark.parametrize("folder", FLOORS)
def test_imports_point_down(folder: str) -> None:
    upward = [
        f"{found} ({target})"
        for found, module, target in edges(folder)
        if floor(folder, target) > floor(folder, module)
    ]
    assert not upward


def folder_of(module: str) -> str:
    """The folder that a module lies in; a module straight under its package stands for itself."""
    folder, _, name = module.rpartition(".")
    return module if "." not in folder or name == "__init__" else folder


@pytest.mark.parametrize("part", [str, folder_of], ids=["modules", "folders"])
@pytest.mark.parametrize("folder", FLOORS)
def test_no_two_parts_import_each_other(folder: str, part: Callable[[str], str]) -> None:
    graph: dict[str, set[str]] = {}
    for _, module, target in edges(folder):
        if part(module) != part(target):
            graph.setdefault(part(module), set()).add(part(target))
    assert graph
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_the_engine_imports_itself_by_its_full_name_and_nothing_above_it() -> None:
    assert not [str(found) for found in ENGINE if found.module.startswith(".")]
    above = {"server", "tools", "timeline_server", "timeline_tools"}
    assert not [str(found) for found in ENGINE if found.top in above]


def test_the_engine_knows_neither_event_loops_nor_sockets() -> None:
    assert not [str(found) for found in ENGINE if found.top in NOT_IN_THE_ENGINE]


@pytest.mark.parametrize("package", SOLE_IMPORTERS)
def test_a_binding_is_imported_in_one_place(package: str) -> None:
    elsewhere = [
        str(found)
        for found in ALL
        if found.top == package and not found.path.startswith(SOLE_IMPORTERS[package])
    ]
    assert not elsewhere


@pytest.mark.parametrize("folder", ["server", "tools"])
def test_server_and_tools_import_themselves_relatively(folder: str) -> None:
    own = {folder, f"timeline_{folder}"}
    assert not [str(found) for found in imports_of(folder) if found.top in own]


def test_tests_and_benchmarks_import_server_and_tools_by_their_installed_names() -> None:
    """A module that is imported by two names is loaded twice, and its classes differ."""
    folders = set(INSTALLED.values())
    assert not [str(found) for found in imports_of("tests", "bench") if found.top in folders]


def test_the_server_does_not_know_the_tools() -> None:
    tools = {"tools", "timeline_tools"}
    assert not [str(found) for found in imports_of("server") if found.top in tools]


def test_a_relative_import_stays_in_its_package() -> None:
    """`..` of server/commands/ is server/; beyond it lies whatever Python finds there."""
    for found in imports_of("server", "tools"):
        dots = len(found.module) - len(found.module.lstrip("."))
        assert dots <= found.path.count("/"), str(found)


def test_nothing_is_imported_inside_a_function() -> None:
    assert not [str(found) for found in ALL if found.in_function]


def test_every_module_says_what_it_is_for() -> None:
    for folder in ("timeline", "server", "tools"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text("utf-8")
            assert not text.strip() or ast.get_docstring(ast.parse(text)), file


def test_dependencies_are_those_imported() -> None:
    """What pyproject.toml asks users to install is imported, and nothing else is, but for what mypy
    brings and reads itself.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {
        re.split(r"[<>=;\[ ]", line, maxsplit=1)[0].replace("-", "_")
        for line in project["dependencies"]
    }
    ours = {"timeline", "timeline_server", "timeline_tools", ""}
    imported = {found.top for found in ALL} - sys.stdlib_module_names - ours
    assert imported == declared | {"mypy_extensions"}
    for path in {ROOT / found.path for found in ALL if found.top == "mypy_extensions"}:
        assert "if TYPE_CHECKING:\n    from mypy_extensions import" in path.read_text("utf-8")
