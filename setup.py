"""Compiles the hot modules with mypyc, which `[tool.timeline] compiled` in pyproject.toml lists.

Rule: they are compiled as one group, so that they call each other without Python between. Where
there is no C compiler, Python's headers are missing, or TIMELINE_COMPILE is 0, the same files are
installed to be interpreted, and one line says so. TIMELINE_COMPILE=1 fails instead.

`python setup.py build_ext --inplace` compiles a checkout, unless what is compiled there is of the
files as they are: beside the library lie the sums of the files that it was made of. Of the C, only
what changed is compiled again.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import sys
import sysconfig
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError

ROOT: Final = Path(__file__).parent
TABLES: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
FOLDERS: Final[dict[str, str]] = TABLES["setuptools"]["package-dir"]
PATTERNS: Final[list[str]] = TABLES["timeline"]["compiled"]

WANTED: Final = os.environ.get("TIMELINE_COMPILE", "")
COMPILES: Final = {"build", "build_ext", "bdist_wheel", "editable_wheel"}.intersection(sys.argv)
IN_PLACE: Final = "--inplace" in sys.argv or "editable_wheel" in sys.argv

GROUP: Final = "timeline.native"  # its library is a module inside the package
SUFFIX: Final = str(sysconfig.get_config_var("EXT_SUFFIX"))
SUMS: Final = ROOT / f"timeline/native__mypyc{SUFFIX}.sha256"
BUILD: Final = Path("build")
CORES: Final = os.cpu_count() or 1


def say(text: str) -> None:
    sys.stderr.write(f"timeline: {text}\n")


def modules() -> list[str]:
    """The paths of what is compiled, as they are installed."""
    left_out = {pattern[1:] for pattern in PATTERNS if pattern.startswith("!")}
    found = {
        path.relative_to(ROOT).as_posix()
        for pattern in PATTERNS
        for path in ROOT.glob(pattern)
        if path.name != "__init__.py"
    }
    installed = {folder: name for name, folder in FOLDERS.items()}
    parts = [path.partition("/") for path in sorted(found - left_out)]
    return [f"{installed[folder]}/{rest}" for folder, _, rest in parts]


def obstacle() -> str | None:
    """Why nothing can be compiled here."""
    if WANTED == "0":
        return "TIMELINE_COMPILE is 0"
    compiler = os.environ.get("CC") or str(sysconfig.get_config_var("CC") or "cc")
    if shutil.which(shlex.split(compiler)[0]) is None:
        return f"there is no C compiler ({compiler})"
    headers = sysconfig.get_path("include")
    if not Path(headers, "Python.h").is_file():
        return f"Python's headers are missing ({headers})"
    if find_spec("mypyc") is None:
        return "mypy is not installed"
    return None


def sums() -> str:
    """Of all that the compiled modules may depend on, as `sha256sum` writes them."""
    files = [ROOT / "setup.py", ROOT / "pyproject.toml"]
    files += sorted(path for folder in FOLDERS.values() for path in (ROOT / folder).rglob("*.py"))
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(ROOT)}\n"
        for path in files
    )


def remove_compiled() -> None:
    """From the checkout, what this Python would load."""
    SUMS.unlink(missing_ok=True)
    for folder in FOLDERS.values():
        for path in (ROOT / folder).rglob(f"*{SUFFIX}"):
            path.unlink()


def interpret(reason: str) -> None:
    say(f"{reason}: all modules stay interpreted, which does the same and takes more CPU")
    if IN_PLACE:
        remove_compiled()


def extensions() -> list[Extension]:
    """The library of the group, and for each module a small one that finds it there."""
    from mypyc.build import mypycify  # noqa: PLC0415  missing where nothing is compiled

    say(f"compiling {len(modules())} modules on {CORES} cores; the first time takes a minute")
    names = ROOT / BUILD / "names"  # where each package has its installed name, also in tracebacks
    names.mkdir(parents=True, exist_ok=True)
    for name, folder in FOLDERS.items():
        (names / name).unlink(missing_ok=True)
        (names / name).symlink_to(ROOT / folder)
    # The types of other packages are left aside: they are not there when a wheel is built in an
    # environment of its own, and the same should come of it everywhere.
    options = [
        "--config-file=",
        "--no-site-packages",
        "--ignore-missing-imports",
        "--follow-imports=silent",
        "--explicit-package-bases",
    ]
    with chdir(names):
        made: list[Extension] = mypycify(
            options + modules(),
            group_name=GROUP,
            target_dir=str(ROOT / BUILD / "mypyc"),
            multi_file=True,
            opt_level="2",
            debug_level="0",
        )
    mend(ROOT / BUILD / "mypyc" / "bytes_ops.c")
    for each in made:
        each.sources = [os.path.relpath(source, ROOT) for source in each.sources]
        each.include_dirs.append(str(BUILD / "mypyc" / GROUP.split(".")[0]))
        each.depends += ["setup.py", "pyproject.toml"]
        # What a compiler of tomorrow warns of is no reason not to compile.
        each.extra_compile_args = [arg for arg in each.extra_compile_args if arg != "-Werror"]
    return made


def mend(path: Path) -> None:
    """A slice of bytes that ends before it begins is empty; mypyc 2.4.1 raises SystemError."""
    text = path.read_text("utf-8")
    wrong, right = "= endn - startn;", "= endn < startn ? 0 : endn - startn;"
    if text.count(wrong) != 1:
        sys.exit(f"timeline: {path} is not that of mypyc 2.4.1: see whether it is mended there")
    path.write_text(text.replace(wrong, right), "utf-8")


class Compile(build_ext):
    """On all cores, and without what has not changed."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = CORES
        self.build_temp = str(BUILD / f"objects{SUFFIX.removesuffix('.so')}")

    def run(self) -> None:
        began, of = time.monotonic(), sums()
        if IN_PLACE:
            remove_compiled()
        try:
            super().run()
        except CCompilerError as problem:
            if WANTED == "1":
                raise
            self.extensions = self.distribution.ext_modules = []
            wheel: Any = self.distribution.get_command_obj("bdist_wheel", create=False)
            if wheel is not None:
                wheel.root_is_pure = True  # it is for every platform now
            # What it was called with takes a screen, and it has said more itself.
            exited = "exit status" in str(problem) or "exit code" in str(problem)
            interpret(f"compiling failed ({'the compiler said why' if exited else problem})")
        else:
            if IN_PLACE:
                SUMS.write_text(of)
            say(f"compiled in {time.monotonic() - began:.0f} s")
        made = {str(Path(self.build_lib, self.get_ext_filename(e.name))) for e in self.extensions}
        for path in Path(self.build_lib).rglob(f"*{SUFFIX}"):
            if str(path) not in made:  # what once was compiled
                path.unlink()

    def build_extensions(self) -> None:
        compiler: Any = self.compiler
        compile_some = compiler.compile
        settings = newest([Path("setup.py"), Path("pyproject.toml")])
        settings = max(settings, newest((BUILD / "mypyc").rglob("*.h")))
        failures: list[CCompilerError] = []

        def compile_one(source: str, how: dict[str, object]) -> str:
            (made,) = compiler.object_filenames([source], output_dir=self.build_temp)
            if newest([Path(made)]) < max(settings, newest([Path(source)])):
                if failures:  # one is enough to hear of
                    raise failures[0]
                try:
                    compile_some([source], **how)
                except CCompilerError as problem:
                    failures.append(problem)
                    raise
            return str(made)

        def compile_all(sources: Sequence[str], **how: object) -> list[str]:
            with ThreadPoolExecutor(CORES) as threads:
                return list(threads.map(lambda source: compile_one(source, how), sources))

        compiler.compile = compile_all
        super().build_extensions()


def newest(paths: Iterator[Path] | list[Path]) -> float:
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)


def main() -> None:
    reason = obstacle() if COMPILES else None
    if reason is not None:
        if WANTED == "1":
            sys.exit(f"timeline: {reason}, and TIMELINE_COMPILE is 1")
        interpret(reason)
        setup()
    elif "--inplace" in sys.argv and SUMS.exists() and SUMS.read_text() == sums():
        pass  # it is compiled already
    else:
        setup(ext_modules=extensions() if COMPILES else [], cmdclass={"build_ext": Compile})


main()
