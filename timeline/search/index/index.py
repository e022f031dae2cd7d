"""The index on disk: documents, and how far in the log they reach.

    <directory>/generation-<number>/    a tantivy index each; the newest that is whole is in use
    <directory>/LOCK                    held by the one store that keeps its index here

Responsibility: open the newest generation, write documents, and replace a generation that is lost
or was made with other options. Other files in the directory stay as they are. The schema says what
documents mean.

Rule: how far the index reaches is a document of its own, the checkpoint. It is written in the same
commit as the documents that it covers. So after a crash the index says truly how far it goes, and
the rest is read from the log again. A generation without a checkpoint was never finished, and is
removed when the directory is opened.

How it fails: errors of tantivy and of the disk become `IndexFaultError`. Panics do too: tantivy
panics when it meets damage that it does not expect. The writer is dead then, and what was not
committed is lost. Open the index again and go on from its checkpoint.

A search may fail because of the index or because of the query:

    tantivy calls the query invalid    `asking` raises TooLargeError: the query's fault
    the index contradicts itself       IndexDamageError: the index's fault
    anything else                      IndexFaultError: a doubt, and a check of the files decides
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tantivy import Document, FieldType, Index as Tantivy, IndexWriter, Occur, Query, Searcher

from timeline.errors import LockedError, StorageError, TooLargeError
from timeline.search.index import checksums
from timeline.search.index.schema import (
    CHECKPOINT,
    Checkpoint,
    build_schema,
    checkpoint_document,
    read_checkpoint,
)
from timeline.search.text import analysis
from timeline.storage.files import PRIVATE, seclude
from timeline.storage.lock import Lock
from timeline.storage.scratch import Scratch

LEAST_MEMORY: Final = 15_000_000  # bytes that tantivy needs for a writer

_END: Final = object()
_LOCK: Final = "LOCK"
_GENERATION: Final = "generation-"
_FAULTS: Final = (OSError, ValueError, RuntimeError, SystemError)
_TOO_MANY: Final = "exceeded max expansions"  # tantivy on a prefix in a phrase
_INVALID: Final = "An invalid argument was passed"  # tantivy on a query
_PANICS: Final = "pyo3_runtime"  # the module of their class, which cannot be imported


class IndexFaultError(StorageError):
    """The index cannot be read or written; the store itself is whole."""


class IndexDamageError(IndexFaultError):
    """The index cannot be what was written: it contradicts itself."""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise `IndexFaultError` for whatever tantivy or the disk raise."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, _FAULTS) or is_panic(error):
            raise IndexFaultError(f"the index in {path}: {error}") from error
        raise


@contextmanager
def asking(path: Path) -> Iterator[None]:
    """Raise `TooLargeError` for a fault of the query, `IndexFaultError` for one of the index."""
    try:
        with translated(path):
            yield
    except IndexFaultError as error:
        text = str(error.__cause__)
        if _TOO_MANY in text:
            raise TooLargeError(
                "the beginning of a word in this phrase stands for too many words: give more of "
                "its letters, or search for it outside the phrase"
            ) from None
        if text.startswith(_INVALID):
            raise TooLargeError(
                "this query is more than the index can look for: search for shorter words"
            ) from error
        raise


def is_panic(error: BaseException) -> bool:
    """Whether tantivy panicked."""
    return type(error).__module__ == _PANICS


def hold(directory: Path) -> Lock:
    """Keep other stores out of a directory. Raises `IndexFaultError` when another store, of this or
    another process, has its index there.
    """
    try:
        with translated(directory):
            directory.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        return Lock(directory / _LOCK, directory, "")
    except LockedError as error:
        raise IndexFaultError(
            f"another store keeps its search index in {directory}: give this one another by "
            "the option search_directory"
        ) from error
    except IndexFaultError:
        raise
    except StorageError as error:
        raise IndexFaultError(f"the index in {directory}: {error}") from error


class Index:
    """One generation. `checkpoint` is None until the generation is finished."""

    def __init__(self, path: Path, tantivy: Tantivy, memory: int) -> None:
        self.path = path
        self._tantivy = tantivy
        self._memory = max(memory, LEAST_MEMORY)
        self._writer: IndexWriter | None = None
        # Else a thread of tantivy looks for commits twice a second, as long as anybody has the
        # index, and leaves a lock file when it finds one, also after `close`.
        tantivy.config_reader("manual")
        analysis.register(tantivy)
        self.schema = tantivy.schema
        self.searcher: Searcher = tantivy.searcher()
        self.checkpoint = self._read_checkpoint()
        # Everything up to this LSN can be found. It may lie above the checkpoint, where the commits
        # between had nothing to index.
        self.reached = 0 if self.checkpoint is None else self.checkpoint.lsn
        self.added = 0  # documents, since it was opened
        self.waiting = 0  # changes since the last commit

    @classmethod
    def make(cls, directory: Path, fields: tuple[str, ...], memory: int) -> Index:
        """A new, empty generation."""
        newest = max(generations(directory), default=0)
        path = directory / f"{_GENERATION}{newest + 1:08}"
        with translated(path):
            path.mkdir(mode=PRIVATE, parents=True)
            return cls(path, Tantivy(build_schema(fields), path=str(path)), memory)

    @classmethod
    def open(cls, path: Path, memory: int) -> Index | None:
        """The generation in `path`; None when it cannot be read."""
        try:
            with translated(path):
                checksums.identify(path)
                return cls(path, Tantivy.open(str(path)), memory)
        except IndexFaultError:
            return None

    @classmethod
    def find(cls, directory: Path, made: str, memory: int, epoch: int) -> Index | None:
        """The newest finished generation of this store with the fingerprint `made`. All others are
        removed.
        """
        found = None
        for path in sorted(generations(directory).values(), reverse=True):
            index = None
            if found is None:
                index = cls.open(path, memory)
                if index is not None and not index.is_of(made, epoch):
                    index = None
                found = index
            if index is None:
                shutil.rmtree(path, ignore_errors=True)
        return found

    def is_of(self, made: str, epoch: int) -> bool:
        known = self.checkpoint
        return known is not None and (known.epoch, known.made) == (epoch, made)

    # --- writing ------------------------------------------------------------------------------

    def add(self, document: Document) -> None:
        with translated(self.path):
            self._open_writer().add_document(document)
        self.added += 1
        self.waiting += 1

    def add_entries(self, documents: Sequence[str]) -> None:
        """Add the documents of entries."""
        with translated(self.path):
            for document in documents:
                self.add_entry(document)
        self.added += len(documents)
        self.waiting += len(documents)

    def add_entry(self, document: str) -> None:
        """Add one of them: `add_entries` counts it, and translates what is raised."""
        self._open_writer().add_json(document)

    def remove(self, key: str) -> None:
        """Remove the document with a key, if it is there."""
        with translated(self.path):
            self._open_writer().delete_documents_by_term("key", key)
        self.waiting += 1

    def remove_timeline(self, timeline: int) -> None:
        """Remove every entry of a timeline."""
        with translated(self.path):
            self._open_writer().delete_documents_by_term("timeline", timeline)
        self.waiting += 1

    def remove_below(self, timeline: int, first: int) -> None:
        """Remove the entries of a timeline that are numbered below `first`."""
        if first <= 0:
            return
        below = Query.range_query(
            self.schema, "seq", FieldType.Unsigned, upper_bound=first, include_upper=False
        )
        entries = Query.term_query(self.schema, "timeline", timeline)
        with translated(self.path):
            self._open_writer().delete_documents_by_query(
                Query.boolean_query([(Occur.Must, entries), (Occur.Must, below)])
            )
        self.waiting += 1

    def commit(self, checkpoint: Checkpoint | None) -> None:
        """Make what was added durable and searchable, together with `checkpoint`: how far the index
        reaches then, or None while the generation is not finished.
        """
        with translated(self.path):
            writer = self._open_writer()
            if checkpoint is not None:
                writer.delete_documents_by_term("key", CHECKPOINT)
                writer.add_document(checkpoint_document(checkpoint))
            writer.commit()
            self._tantivy.reload()
            self.searcher = self._tantivy.searcher()
            checksums.note(self.path)
        self.waiting = 0
        if checkpoint is not None:
            self.checkpoint = checkpoint
            self.reached = checkpoint.lsn

    def _open_writer(self) -> IndexWriter:
        if self._writer is None:
            self._writer = self._tantivy.writer(heap_size=self._memory, num_threads=1)
        return self._writer

    # --- reading ------------------------------------------------------------------------------

    def _read_checkpoint(self) -> Checkpoint | None:
        query = Query.term_query(self.schema, "key", CHECKPOINT)
        hits = self.searcher.search(query, limit=1, count=False).hits
        return read_checkpoint(self.searcher.doc(hits[0][1])) if hits else None

    @property
    def documents(self) -> int:
        return max(0, self.searcher.num_docs - (self.checkpoint is not None))

    @property
    def segments(self) -> int:
        return self.searcher.num_segments

    def size(self) -> int:
        """Bytes on disk."""
        total = 0
        with suppress(FileNotFoundError):  # it was removed: searches in it still end
            for file in self.path.iterdir():
                with suppress(FileNotFoundError):  # merged away meanwhile
                    total += file.stat().st_size
        return total

    def verify(self) -> Iterator[None]:
        """Compare the files on disk with their checksums, in steps. Raises `IndexFaultError`."""
        with translated(self.path):
            steps = checksums.verify(self.path)
        while True:
            with translated(self.path):
                if next(steps, _END) is _END:
                    return
            yield

    # --- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the writer. What was not committed is lost."""
        written, self._writer = self._writer is not None, None
        if written:
            # The directory may be gone, or a fault in it may be why the index is closed.
            with suppress(OSError, ValueError):
                checksums.note(self.path)
            seclude(self.path)

    def discard(self) -> None:
        """Close it, and remove it from disk."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)


def linked(own: Scratch, path: Path) -> Path:
    """A directory of links to the files of the generation in `path`, for readers that must not
    write there: tantivy makes a lock file where it reads. The files never change; only `meta.json`
    is replaced, as a whole. Raises `FileNotFoundError`, `StorageError`.
    """
    for file in path.iterdir():
        if not file.name.endswith(".lock"):
            own.show(path, file.name, path.name)
    return own.path / path.name


def generations(directory: Path) -> dict[int, Path]:
    """Where the generations in a directory are, by number."""
    if not directory.is_dir():
        return {}
    return {
        int(path.name.removeprefix(_GENERATION)): path
        for path in directory.glob(f"{_GENERATION}{'[0-9]' * 8}")
    }
