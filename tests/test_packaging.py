"""The promise: an install brings three typed packages of ours and two commands, and nothing more.

The wheel and the editable install are made as a user would make them, without dependencies and
without build isolation, so that no package index is asked.
"""

from __future__ import annotations

import ast
import configparser
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from typing import Final

import pytest

import timeline

ROOT: Final = Path(__file__).parent.parent
FOLDERS: Final = {"timeline": "timeline", "timeline_server": "server", "timeline_tools": "tools"}
SCRIPTS: Final = {
    "timelined": "timeline_server.daemon:main",
    "timeline": "timeline_tools.__main__:run",
}


def pip(*arguments: str, compile: str = "0") -> None:  # noqa: A002  as setup.py's variable
    """Run pip so that it needs nothing that is not installed here already."""
    environment = os.environ | {
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "TIMELINE_COMPILE": compile,
    }
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments, "--no-deps", "--no-build-isolation", "--quiet"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def sources() -> set[str]:
    """Every file that belongs into an install, by its installed path."""
    return {
        f"{package}/{file.relative_to(ROOT / folder).as_posix()}"
        for package, folder in FOLDERS.items()
        for pattern in ("*.py", "py.typed", "FORMAT.md")
        for file in (ROOT / folder).rglob(pattern)
    }


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project without its history: a build leaves traces, and they stay out of the checkout."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        (copy / name).symlink_to(ROOT / name)
    for name in FOLDERS.values():
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.so*", "__*__"))
    return copy


def test_make_takes_a_port_and_a_directory_from_either_side() -> None:
    named = {"PORT": "7500", "DATA": "elsewhere"}
    for words, environment in (
        ([], os.environ | named),
        ([f"{name}={value}" for name, value in named.items()], dict(os.environ)),
    ):
        made = subprocess.run(
            ["make", "--dry-run", "run", *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "--data elsewhere --host 127.0.0.1 --port 7500" in made.stdout


def test_make_alone_says_what_it_does_and_nothing_else() -> None:
    made = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    *targets, built, last = made.stdout.splitlines()
    assert [line.split()[:2] for line in targets] == [
        ["make", target] for target in ("run", "demo", "test", "lint", "bench")
    ]
    assert built.startswith("Each first builds .venv")
    assert last.endswith("COMPILE=0 leaves them interpreted.")


def test_make_run_on_a_port_that_is_taken_says_how_to_name_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        made = subprocess.run(
            [
                "make",
                f"--old-file={sys.prefix}/built",
                "run",
                f"VENV={sys.prefix}",
                f"PORT={port}",
                f"DATA={tmp_path / 'data'}",
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert made.returncode != 0
    assert f"port {port} of 127.0.0.1 is taken" in made.stderr
    assert "or choose another: make run PORT=…\n" in made.stderr


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", str(checkout), "--wheel-dir", str(folder))
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_a_wheel_holds_exactly_our_files(wheel: zipfile.ZipFile) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == sources()


def test_a_wheel_has_a_name_of_its_own(wheel: zipfile.ZipFile) -> None:
    """`timeline` on the package index is another project: who installs that gets a stranger's."""
    assert Path(str(wheel.filename)).name.startswith("timeline_engine-")
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    assert "Name: timeline-engine" in wheel.read(name).decode().splitlines()


def test_a_wheel_is_typed_and_describes_the_format(wheel: zipfile.ZipFile) -> None:
    held = set(wheel.namelist())
    assert {f"{package}/py.typed" for package in FOLDERS} <= held
    assert "timeline/formats/FORMAT.md" in held


def test_a_wheel_brings_the_licence_and_two_commands(wheel: zipfile.ZipFile) -> None:
    assert [name for name in wheel.namelist() if name.endswith("licenses/LICENSE")]
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    points = configparser.ConfigParser()
    points.read_string(wheel.read(name).decode())
    assert dict(points["console_scripts"]) == SCRIPTS


def test_an_installed_wheel_starts_both_commands(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    target = tmp_path / "site"
    pip("install", str(wheel.filename), "--target", str(target))
    packages = {path.name for path in target.iterdir() if path.suffix != ".dist-info"} - {"bin"}
    assert packages == set(FOLDERS)
    assert "(interpreted)" in run_in(target, tmp_path, str(target / "bin/timelined"), "--version")
    assert {path.name for path in (target / "bin").iterdir()} == set(SCRIPTS)
    for command in SCRIPTS:
        ran = run_in(target, tmp_path, str(target / "bin" / command), "--help")
        assert ran.startswith(("usage:", "Usage:"))
        ran = run_in(target, tmp_path, str(target / "bin" / command), "--version")
        version = Path(str(wheel.filename)).name.split("-")[1]
        assert ran.removesuffix(" (interpreted)\n").split()[-1] == version


def test_an_interpreted_wheel_is_for_every_platform(wheel: zipfile.ZipFile) -> None:
    assert str(wheel.filename).endswith("-py3-none-any.whl")


@pytest.mark.skipif(not timeline.compiled, reason="nothing is compiled here")
@pytest.mark.timeout(600)
def test_a_compiled_wheel_is_for_this_platform_and_runs(checkout: Path, tmp_path: Path) -> None:
    shutil.rmtree(checkout / "build", ignore_errors=True)
    shutil.copytree(ROOT / "build", checkout / "build", symlinks=True)  # whose C need not be again
    pip("wheel", str(checkout), "--wheel-dir", str(tmp_path), compile="1")
    (built,) = tmp_path.glob("*.whl")
    assert f"-cp3{sys.version_info.minor}-" in built.name
    assert not built.name.endswith("-any.whl")
    with zipfile.ZipFile(built) as file:
        held = {name for name in file.namelist() if ".dist-info/" not in name}
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    compiled = {name for name in held if name.endswith(suffix)}
    assert held - compiled == sources()
    assert f"timeline/native__mypyc{suffix}" in compiled
    assert f"timeline_server/connection/connection{suffix}" in compiled
    target = tmp_path / "site"
    pip("install", str(built), "--target", str(target))
    assert "(compiled)" in run_in(target, tmp_path, str(target / "bin/timelined"), "--version")
    append = (
        "import timeline, sys\n"
        "with timeline.open(sys.argv[1]) as db: print(db.timeline('a').append({'a': 'b'}))"
    )
    assert run_in(target, tmp_path, "-c", append, str(tmp_path / "s")) == "1\n"


def test_what_compiles_is_what_mypy_checks() -> None:
    package = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (pinned,) = (each for each in package["build-system"]["requires"] if each.startswith("mypy"))
    assert pinned.startswith("mypy==")
    assert pinned in package["project"]["optional-dependencies"]["dev"]


def test_constants_of_what_compiles_are_final() -> None:
    """Any other name of a module is looked up each time that it is used. Two are what tests put
    another number in the place of.
    """
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["timeline"]
    left_out = {ROOT / each[1:] for each in table["compiled"] if each[0] == "!"}
    chosen = {path for each in table["compiled"] if each[0] != "!" for path in ROOT.glob(each)}
    loose = [
        f"{path.relative_to(ROOT)}: {target.id}"
        for path in sorted(chosen - left_out)
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and len(target.id) > 1 and target.id.strip("_").isupper()
    ]
    assert loose == [
        "server/connection/connection.py: _SECONDS",
        "timeline/feeds/following.py: _STRETCHES",
        "timeline/feeds/searching.py: _STRETCHED",
        "timeline/messaging/conversations/membership.py: _PULLED_STRETCHES",
    ]


def test_an_editable_install_finds_the_checkout(checkout: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    pip("install", "--editable", str(checkout), "--target", str(target))
    program = (
        "import importlib.util, site, sys\n"
        "site.addsitedir(sys.argv[1])\n"
        "for name in sys.argv[2:]: print(importlib.util.find_spec(name).origin)\n"
    )
    modules = ["timeline", "timeline_server.config.config", "timeline_tools.main"]
    # Without site-packages: the environment of these tests is an editable install of its own.
    places = run_in(target, tmp_path, "-I", "-S", "-c", program, str(target), *modules)
    assert [Path(place).resolve() for place in places.splitlines()] == [
        checkout / "timeline/__init__.py",
        checkout / "server/config/config.py",
        checkout / "tools/main.py",
    ]


def run_in(target: Path, cwd: Path, *arguments: str) -> str:
    """Run Python away from the checkout, with the install at `target` before any other."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
