"""Reading an index without changing it, to compare it with the store.

Rule: nothing is written or removed in the directory of the index: it is read through links. An
opening for searching would lock the directory and remove generations that were never finished.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tantivy import Index as Tantivy, Order, Query

from timeline.search.index import checksums
from timeline.search.index.index import Index, IndexFaultError, generations, linked, translated
from timeline.search.index.schema import Checkpoint, fingerprint, read_fingerprint
from timeline.storage.scratch import Scratch

_TRIES: Final = 3  # to read an index that is written to meanwhile


class IndexReader:
    """The newest finished generation, as it is now.

    It reaches up to commit `lsn`. It holds `fields` of the entries of all timelines whose names
    begin with one of `prefixes`.
    """

    def __init__(self, path: Path, index: Index, own: Scratch, known: Checkpoint) -> None:
        self._path = path
        self._index = index
        self._own = own
        self.lsn = known.lsn
        self.fields, self.prefixes = read_fingerprint(known.made)

    def verify(self) -> None:
        """Compare its files with their checksums. Raises `IndexFaultError`."""
        with _reading(self._own, self._path):
            for _ in self._index.verify():
                pass

    def ranks(self, timeline: int) -> list[int]:
        """The rank of every document of a timeline. Raises `IndexFaultError`."""
        index = self._index
        query = Query.term_query(index.schema, "timeline", timeline)
        with _reading(self._own, self._path):
            counted = index.searcher.search(query, limit=1, count=True)
            count: int = counted.count  # type: ignore[attr-defined]  # its stub lacks it
            found = index.searcher.search(
                query, limit=count + 1, count=False, order_by_field="rank", order=Order.Desc
            )
        ranks = [rank for rank, _ in found.hits]
        if None in ranks:
            raise IndexFaultError(f"the index in {self._path}: it has an entry without a place")
        return [int(rank) for rank in ranks]


@contextmanager
def newest_index(directory: Path, epoch: int) -> Iterator[IndexReader | None]:
    """The index that an opening would go on with; None when it would build another. Raises
    `IndexFaultError`.
    """
    own = Scratch()
    try:
        yield _newest(own, directory, epoch)
    finally:
        own.remove()


def _newest(own: Scratch, directory: Path, epoch: int) -> IndexReader | None:
    for left in reversed(range(_TRIES)):
        try:
            return _finished(own, directory, epoch)
        except IndexFaultError:
            if not left:
                raise
    return None


def _finished(own: Scratch, directory: Path, epoch: int) -> IndexReader | None:
    for _, path in sorted(generations(directory).items(), reverse=True):
        with _reading(own, path):
            shown = linked(own, path)
            checksums.identify(shown)  # it names the damaged file; tantivy would not
            index = Index(shown, Tantivy.open(str(shown)), 0)
            known = index.checkpoint
            if known is None:
                continue  # never finished
            found = IndexReader(path, index, own, known)
        usable = known.made == fingerprint(found.fields, found.prefixes)
        return found if usable and known.epoch == epoch else None
    return None


@contextmanager
def _reading(own: Scratch, path: Path) -> Iterator[None]:
    """Let errors name the files in `path`, not the links to them."""
    try:
        with translated(path):
            yield
    except IndexFaultError as error:
        text = str(error).replace(str(own.path / path.name), str(path))
        raise IndexFaultError(text) from error
