"""The files of an index are what was written: each is whole, and each is the one that was noted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tantivy import Document

from timeline.search.index import checksums
from timeline.search.index.index import LEAST_MEMORY, Index


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """The directory of an index of one document, whose checksums are noted."""
    made = Index.make(tmp_path, ("text",), LEAST_MEMORY)
    document = Document()
    document.add_text("key", "1-1")
    document.add_text("f0", "hello")
    made.add(document)
    made.commit(None)
    made.close()
    return made.path


def verify(index: Path) -> None:
    for _ in checksums.verify(index):
        pass


def test_what_was_written_is_whole(index: Path) -> None:
    verify(index)
    assert (index / "checksums.json").is_file()


@pytest.mark.parametrize("kind", ["fast", "fieldnorm", "idx", "pos", "store", "term"])
def test_a_flipped_bit_is_found(index: Path, kind: str) -> None:
    (file,) = index.glob(f"*.{kind}")
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged"):
        verify(index)


def test_a_file_that_is_cut_is_found(index: Path) -> None:
    (file,) = index.glob("*.term")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"damaged at its end"):
        verify(index)


def test_another_file_that_is_whole_is_found_by_the_list(index: Path) -> None:
    (store,), (term,) = index.glob("*.store"), index.glob("*.term")
    shutil.copy(store, term)
    with pytest.raises(ValueError, match=r"another file"):
        checksums.identify(index)
    (index / "checksums.json").write_text("no list")
    checksums.identify(index)  # nothing is known of it any more
