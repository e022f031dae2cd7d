"""Documents: what the index gets of entries and metadata.

Rule: an entry becomes a document when its timeline is indexed and it has one of the indexed fields.
A timeline is indexed when its name begins with one of the prefixes. Examples with the field `text`
and the prefix `@conv:`:

    @conv:team   text hi               a document
    @conv:team   @recalled ann         none: a recalled message has no text
    log:a        text hi               none: the timeline is not indexed

References in in-boxes never become documents.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from tantivy import Document

from timeline.formats.entries import split_items
from timeline.formats.records import Record
from timeline.formats.rows import decode_metadata
from timeline.formats.segments import StoredEntry
from timeline.search.index.schema import entry_document, metadata_document
from timeline.search.text.analysis import decode
from timeline.search.text.folding import compose, fold

_SENDER = b"@from"


class Documents:
    """Makes documents of what a store holds."""

    def __init__(self, fields: Sequence[str], prefixes: Sequence[bytes]) -> None:
        self._numbers = {field.encode(): number for number, field in enumerate(fields)}
        self._prefixes = tuple(prefixes)

    def covers(self, name: bytes) -> bool:
        """Whether the entries of the timeline called `name` are indexed."""
        return name.startswith(self._prefixes)

    def entry(self, timeline: int, row: StoredEntry) -> str | None:
        """The document of an entry; None when the entry has none of the indexed fields."""
        seq, lsn, time, payload = row
        items = split_items(payload)
        numbers = self._numbers
        texts: list[tuple[int, str]] = []
        sender = ""
        for at in range(0, len(items), 2):
            field = items[at]
            if field in numbers:
                text = items[at + 1].decode("utf-8", "replace")
                texts.append((numbers[field], text if text.isascii() else fold(compose(text))))
            elif field == _SENDER:
                sender = items[at + 1].decode("utf-8", "replace")
        if not texts:
            return None
        return entry_document(timeline, seq, lsn, time, sender, texts)

    def appended(self, record: Record, covered: Container[int]) -> list[str]:
        """The documents of what a record appends to timelines of `covered`."""
        appends, value, time = record.appends, record.value, record.time
        lsns = appends.lsns(record.first)
        made: list[str] = []
        stop = record.start
        for place, timeline in enumerate(appends.timelines):
            start, stop = stop, stop + appends.sizes[place]
            if timeline in covered:
                row = (appends.seqs[place], lsns[place], time, value[start:stop])
                document = self.entry(timeline, row)
                if document is not None:
                    made.append(document)
        return made

    def metadata(self, timeline: int, value: bytes) -> Document:
        pairs = decode_metadata(value).items()
        return metadata_document(timeline, [(decode(name), decode(value)) for name, value in pairs])
