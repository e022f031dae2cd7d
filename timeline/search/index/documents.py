"""Documents: what the index gets of entries and metadata.

Rule: an entry becomes a document when its timeline is indexed and it has one of the indexed fields.
A timeline is indexed when its name begins with one of the prefixes. An entry of a feed, which is a
post, becomes one also when it has tags and no such field. Examples with the field `text` and the
prefixes `@conv:` and `@feed:`:

    @conv:team   text hi               a document
    @conv:team   @recalled ann         none: a recalled message has no text
    @feed:ann    image 1.jpg           none
    @feed:ann    @tags sun image 1.jpg  a document
    log:a        text hi               none: the timeline is not indexed

References in in-boxes never become documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tantivy import Document

from timeline.formats.entries import split_items
from timeline.formats.names import FEEDS
from timeline.formats.records import Record
from timeline.formats.rows import decode_metadata
from timeline.formats.segments import StoredEntry
from timeline.search.index.schema import entry_document, metadata_document
from timeline.search.text.analysis import decode
from timeline.search.text.folding import compose, fold

POST: Final = "post"  # the kind of an entry of a feed
_OTHER: Final = ""  # and of any other that is indexed

_SENDER: Final = b"@from"
TAGS: Final = b"@tags"


class Documents:
    """Makes documents of what a store holds."""

    def __init__(self, fields: Sequence[str], prefixes: Sequence[bytes]) -> None:
        self._names = {field.encode(): f"f{number}" for number, field in enumerate(fields)}
        self._prefixes = tuple(prefixes)

    def kind(self, name: bytes) -> str | None:
        """The kind of the entries of the timeline called `name`; None when they are not indexed."""
        if not name.startswith(self._prefixes):
            return None
        return POST if name.startswith(FEEDS) else _OTHER

    def entry(self, timeline: int, kind: str, row: StoredEntry) -> str | None:
        """The document of an entry; None when there is nothing in it to find it by."""
        seq, lsn, time, payload = row
        items = split_items(payload)
        names = self._names
        texts: list[tuple[str, str]] = []
        sender = ""
        for at in range(0, len(items), 2):
            field = items[at]
            if field in names:
                text = items[at + 1].decode("utf-8", "replace")
                texts.append((names[field], text if text.isascii() else fold(compose(text))))
            elif field == _SENDER:
                sender = items[at + 1].decode("utf-8", "replace")
            elif kind == POST and field == TAGS:
                texts.append(("tag", items[at + 1].decode("utf-8", "replace")))
        if not texts:
            return None
        if kind:
            texts.append(("kind", kind))
        return entry_document(timeline, seq, lsn, time, sender, texts)

    def appended(self, record: Record, kinds: Mapping[int, str]) -> list[str]:
        """The documents of what a record appends to the timelines of `kinds`."""
        appends, value, time = record.appends, record.value, record.time
        lsns = appends.lsns(record.first)
        made: list[str] = []
        stop = record.start
        for place, timeline in enumerate(appends.timelines):
            start, stop = stop, stop + appends.sizes[place]
            if timeline in kinds:
                row = (appends.seqs[place], lsns[place], time, value[start:stop])
                document = self.entry(timeline, kinds[timeline], row)
                if document is not None:
                    made.append(document)
        return made

    def metadata(self, timeline: int, value: bytes) -> Document:
        pairs = decode_metadata(value).items()
        return metadata_document(timeline, [(decode(name), decode(value)) for name, value in pairs])
