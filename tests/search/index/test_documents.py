"""Which entries are documents, and of which timelines."""

from __future__ import annotations

import pytest

from timeline.formats.entries import encode_entry
from timeline.search.index.documents import Documents

DOCUMENTS = Documents(("text", "title"), (b"@conv:", b"log:"))


@pytest.mark.parametrize(
    ("name", "covered"),
    [(b"@conv:team", True), (b"log:", True), (b"logs", False), (b"@user:ann", False)],
)
def test_a_timeline_is_covered_by_the_beginning_of_its_name(name: bytes, covered: bool) -> None:
    assert DOCUMENTS.covers(name) is covered


@pytest.mark.parametrize(
    ("fields", "documents"),
    [
        ([b"text", b"hi"], 1),
        ([b"@from", b"ann", b"title", b"\xff"], 1),
        ([b"other", b"hi"], 0),
        ([b"@from", b"ann", b"@recalled", b"ann"], 0),
    ],
)
def test_an_entry_is_a_document_when_it_has_an_indexed_field(
    fields: list[bytes], documents: int
) -> None:
    made = DOCUMENTS.entry(7, (1, 5, 1_000, encode_entry(1, fields)))
    assert (made is not None) == bool(documents)
