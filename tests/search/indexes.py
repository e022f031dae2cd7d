"""A store that is searched, as tests of the index have it, and what they ask of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from tests.engine.stores import SMALL
from timeline.embedded.database import Database
from timeline.search.indexer import Indexer

OPTIONS = replace(
    SMALL, fsync="inline", search=True, search_commit_ms=10, search_prefixes=("log:",)
)


def texts(db: Database, query: str = "word", user: str = "bob", wait: float = 20) -> list[str]:
    page = db.messaging.search(user, query, limit=100, wait=wait)
    return [hit.text("text") for hit in page.hits]


def stats(db: Database) -> dict[str, int | str]:
    return db.index.searchable.stats()


def indexer_of(db: Database) -> Indexer:
    indexer = db.index.searchable
    assert isinstance(indexer, Indexer)
    return indexer


def until(db: Database, done: Callable[[], bool]) -> None:
    while not done():
        assert indexer_of(db).alive
        threading.Event().wait(0.001)


def heal(db: Database) -> None:
    while db.engine.poisoned:
        db.engine.work()


class PanicException(BaseException):
    """What a panic of the library below looks like."""

    __module__ = "pyo3_runtime"
