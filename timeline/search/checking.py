"""Reading an index without changing it, to hold it against the store.

Rule: nothing is written or removed in the directory of the index; opening it for searching removes
generations that were never finished, and locks it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

from tantivy import Index as Tantivy, Order, Query

from timeline.search.index import Index, IndexFaultError, generations, translated
from timeline.search.schema import fingerprint, read_fingerprint

_TRIES: Final = 3  # of an index that is written to meanwhile


class IndexReader:
    """The newest finished generation, as of now. `lsn` says how far it goes, `fields` what of an
    entry is in it, `prefixes` how the names of the timelines begin whose entries are.
    """

    def __init__(self, index: Index, lsn: int, made: str) -> None:
        self._index = index
        self.lsn = lsn
        self.fields, self.prefixes = read_fingerprint(made)

    @classmethod
    def newest(cls, directory: Path, epoch: int) -> Self | None:
        """None when there is none that an opening would go on with. Raises `IndexFaultError`."""
        for left in range(_TRIES - 1, -1, -1):
            try:
                return cls._newest(directory, epoch)
            except IndexFaultError:
                if not left:
                    raise
        return None

    @classmethod
    def _newest(cls, directory: Path, epoch: int) -> Self | None:
        for _, path in sorted(generations(directory).items(), reverse=True):
            with translated(path):
                index = Index(path, Tantivy.open(str(path)), 0)
                known = index.checkpoint
                if known is None:
                    continue  # never finished
                found = cls(index, known.lsn, known.made)
            usable = known.made == fingerprint(found.fields, found.prefixes)
            return found if usable and known.epoch == epoch else None
        return None

    def verify(self) -> None:
        """Compare its files with their checksums. Raises `IndexFaultError`."""
        for _ in self._index.verify():
            pass

    def ranks(self, timeline: int) -> list[int]:
        """The rank of every document of a timeline. Raises `IndexFaultError`."""
        index = self._index
        query = Query.term_query(index.schema, "timeline", timeline)
        with translated(index.path):
            counted = index.searcher.search(query, limit=1, count=True)
            count: int = counted.count  # type: ignore[attr-defined]  # its stub lacks it
            found = index.searcher.search(
                query, limit=count + 1, count=False, order_by_field="rank", order=Order.Desc
            )
        return [int(rank) for rank, _ in found.hits]
