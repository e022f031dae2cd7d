"""The promise: an install brings three typed packages of ours and two commands, and nothing more.

The wheel and the editable install are made as a user would make them, without dependencies and
without build isolation, so that no package index is asked.
"""

from __future__ import annotations

import configparser
import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
FOLDERS: Final = {"timeline": "timeline", "timeline_server": "server", "timeline_tools": "tools"}
SCRIPTS: Final = {
    "timelined": "timeline_server.daemon:main",
    "timeline": "timeline_tools.__main__:run",
}


def pip(*arguments: str) -> None:
    """Run pip so that it needs nothing that is not installed here already."""
    environment = os.environ | {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
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
    for name in ("pyproject.toml", "README.md", "LICENSE", *FOLDERS.values()):
        (copy / name).symlink_to(ROOT / name)
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
    *targets, last = made.stdout.splitlines()
    assert [line.split()[:2] for line in targets] == [
        ["make", target] for target in ("run", "demo", "test", "lint", "bench")
    ]
    assert last.startswith("Each first builds .venv")


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
    assert {path.name for path in (target / "bin").iterdir()} == set(SCRIPTS)
    for command in SCRIPTS:
        ran = run_in(target, tmp_path, str(target / "bin" / command), "--help")
        assert ran.startswith(("usage:", "Usage:"))
        ran = run_in(target, tmp_path, str(target / "bin" / command), "--version")
        assert ran.split()[-1] == Path(str(wheel.filename)).name.split("-")[1]


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
        ROOT / "timeline/__init__.py",
        ROOT / "server/config/config.py",
        ROOT / "tools/main.py",
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
