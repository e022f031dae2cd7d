"""The index on disk: documents, and how far in the log they reach.

    <directory>/generation-<number>/    a tantivy index each; the newest that is whole is in use
    <directory>/LOCK                    held by the one store that keeps its index here

Responsibility: open the newest generation, write documents, and put another generation in place of
one that is lost or was made with something else. What else is in the directory is left alone.

Rule: the position reached is a document of its own, written in the same commit as what it vouches
for, so that whatever a crash leaves says truly how far it goes, and what lies behind is read from
the log again. A generation without it was never finished, and goes when the directory is opened.
What documents mean is the schema's and the indexer's.

How it fails: whatever tantivy or the disk say becomes `IndexFaultError`, and so does a panic, which
is how tantivy meets damage that it did not expect. The writer is dead then
and what was not committed is lost: open the index again and go on from its checkpoint. Of a search
that fails nobody knows whether it was the index or the question, unless tantivy calls the question
invalid: `asking` tells these apart, `IndexDamageError` says that the index contradicts itself, and
anything else is a doubt, which is settled by looking at the files.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
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

LEAST_MEMORY: Final = 15_000_000  # bytes a writer takes at least, says tantivy

_END: Final = object()
_LOCK: Final = "LOCK"
_GENERATION: Final = "generation-"
_FAULTS: Final = (OSError, ValueError, RuntimeError, SystemError)
_TOO_MANY: Final = "exceeded max expansions"  # says tantivy of a beginning in a phrase
_INVALID: Final = "An invalid argument was passed"  # says tantivy of a question
_PANICS: Final = "pyo3_runtime"  # the module of their class, which cannot be imported


class IndexFaultError(StorageError):
    """The index cannot be read or written; the store itself is whole."""


class IndexDamageError(IndexFaultError):
    """What is read of the index cannot be what was written."""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if isinstance(error, _FAULTS) or is_panic(error):
            raise IndexFaultError(f"the index in {path}: {error}") from error
        raise


@contextmanager
def asking(path: Path) -> Iterator[None]:
    """What is wrong with a question is told from what is wrong with the index. Raises
    `TooLargeError`, `IndexFaultError`.
    """
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
    """Keep other stores out of a directory, of this process or another. Raises `IndexFaultError`
    when one is in it already.
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
    """One generation. `checkpoint` is None until it was finished once."""

    def __init__(self, path: Path, tantivy: Tantivy, memory: int) -> None:
        self.path = path
        self._tantivy = tantivy
        self._memory = max(memory, LEAST_MEMORY)
        self._writer: IndexWriter | None = None
        analysis.register(tantivy)
        self.schema = tantivy.schema
        self.searcher: Searcher = tantivy.searcher()
        self.checkpoint = self._read_checkpoint()
        # What was committed up to here can be found; beyond the checkpoint as far as there was
        # nothing to index.
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
        """The newest generation that was finished, of this store and `made` as it is to be. The
        others are removed.
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
        """Make what was added durable and searchable, and with it how far it reaches; None for a
        generation that is not finished yet.
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
        with suppress(FileNotFoundError):  # it was removed, and is searched to its end all the same
            for file in self.path.iterdir():
                with suppress(FileNotFoundError):  # merged away meanwhile
                    total += file.stat().st_size
        return total

    def verify(self) -> Iterator[None]:
        """Compare what is on disk with its checksums, some at a time. Raises `IndexFaultError`."""
        with translated(self.path):
            steps = checksums.verify(self.path)
        while True:
            with translated(self.path):
                if next(steps, _END) is _END:
                    return
            yield

    # --- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the writer; what was not committed is lost."""
        written, self._writer = self._writer is not None, None
        if written:
            with suppress(OSError, ValueError):  # it may be gone, or be why it is closed
                checksums.note(self.path)
            seclude(self.path)

    def discard(self) -> None:
        """Close it, and remove it from disk."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)


def linked(own: Scratch, path: Path) -> Path:
    """A directory of links to the files of the generation in `path`, for who may not write beside
    them: tantivy takes a lock, a file, where it reads. What is written once never changes, except
    `meta.json`, which is replaced whole. Raises `FileNotFoundError`, `StorageError`.
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
