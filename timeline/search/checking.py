"""Reading an index without changing it, to hold it against the store.

Rule: nothing is written or removed in the directory of the index; opening it for searching removes
generations that were never finished.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from tantivy import Index as Tantivy, Order, Query

from timeline.search.index import Index, translated
from timeline.search.schema import fingerprint


class IndexReader:
    """The newest finished generation, as of now. `lsn` says how far it goes, `fields` what of an
    entry is in it.
    """

    def __init__(self, index: Index, lsn: int, fields: tuple[str, ...]) -> None:
        self._index = index
        self.lsn = lsn
        self.fields = fields

    @classmethod
    def newest(cls, directory: Path, epoch: int) -> Self | None:
        """None when there is none that an opening would go on with. Raises `IndexFaultError`."""
        if not directory.is_dir():
            return None
        paths = [path for path in directory.iterdir() if path.name.isdigit()]
        for path in sorted(paths, reverse=True):
            with translated(path):
                index = Index(path, Tantivy.open(str(path)), 0)
            known = index.checkpoint
            if known is None:
                continue  # never finished
            fields = _fields_of(known.made)
            if known.epoch != epoch or known.made != fingerprint(fields):
                return None
            return cls(index, known.lsn, fields)
        return None

    def ranks(self, timeline: int) -> list[int]:
        """The rank of every document of a timeline."""
        index = self._index
        query = Query.term_query(index.schema, "timeline", timeline)
        with translated(index.path):
            count = index.searcher.search(query, limit=1, count=True).count  # type: ignore[attr-defined]  # its stub lacks it
            found = index.searcher.search(
                query, limit=count + 1, count=False, order_by_field="rank", order=Order.Desc
            )
        return [int(rank) for rank, _ in found.hits]


def _fields_of(made: str) -> tuple[str, ...]:
    """The fields that a fingerprint names."""
    _, _, *fields = made.split("-")
    return tuple(bytes.fromhex(field).decode() for field in fields)
