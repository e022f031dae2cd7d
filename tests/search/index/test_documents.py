"""Which entries are documents, and of which timelines."""

from __future__ import annotations

import pytest

from timeline.formats.entries import encode_entry
from timeline.search.index.documents import Documents

DOCUMENTS = Documents(("text", "title"), (b"@conv:", b"@feed:", b"log:"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (b"@conv:team", ""),
        (b"@feed:ann", "post"),
        (b"@feedevent:ann", None),
        (b"log:", ""),
        (b"logs", None),
        (b"@user:ann", None),
    ],
)
def test_a_timeline_is_indexed_by_the_beginning_of_its_name(name: bytes, kind: str | None) -> None:
    assert DOCUMENTS.kind(name) == kind


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ([b"text", b"hi"], {"", "post"}),
        ([b"@from", b"ann", b"title", b"\xff"], {"", "post"}),
        ([b"other", b"hi"], set()),
        ([b"@from", b"ann", b"@recalled", b"ann"], set()),
        ([b"@tags", b"sun", b"@tags", b"ulm", b"image", b"1.jpg"], {"post"}),
        ([b"@repost", b"ann/1"], set()),
    ],
)
def test_an_entry_is_a_document_when_it_has_an_indexed_field_and_a_post_also_with_tags(
    fields: list[bytes], kinds: set[str]
) -> None:
    row = (1, 5, 1_000, encode_entry(1, fields))
    assert {kind for kind in ("", "post") if DOCUMENTS.entry(7, kind, row) is not None} == kinds
