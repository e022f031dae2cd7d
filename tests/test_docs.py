"""The promise: every link in the docs leads to a file that is there, and to a heading of it; every
path of the source that they name is there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCED: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\[[^]\n]*\]\(([^)\s]+)\)")
_PATH: Final = re.compile(r"`((?:timeline|server|tools|tests|bench)/[\w./]*|test_\w+\.py)`")
_HEADING: Final = re.compile(r"^#+ (.*)$", re.MULTILINE)


def prose(page: Path) -> str:
    return _FENCED.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    titles = _HEADING.findall(prose(page))
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_that_is_named_is_there(page: Path) -> None:
    for path in set(_PATH.findall(prose(page))) - {"bench/results/"}:  # which `make bench` makes
        assert (ROOT / path).exists() or any((ROOT / "tests").rglob(path)), path


def test_the_architecture_names_every_folder_and_every_step() -> None:
    """From it a reader finds the part they look for in one guess."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    folders = [each.parent for each in (ROOT / "timeline").glob("*/__init__.py")]
    folders += [each.parent for each in (ROOT / "server").glob("*/__init__.py")]
    lacking = [each.name for each in folders if f"{each.name}/" not in page]
    assert not lacking
