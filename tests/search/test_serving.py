"""The promise: whoever keeps the index up, callers ask it alike: how far it reaches, to wait until
it reaches further, and what a fault of it means. Both kinds are asked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.search.indexes import OPTIONS, texts
from timeline.embedded.database import Database
from timeline.errors import IndexLagError
from timeline.search.index.index import IndexDamageError, IndexFaultError
from timeline.search.serving import Serving


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Database]:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        db.messaging.send("team", "ann", {"text": "a word"})
        assert texts(db) == ["a word"]
        yield db


@pytest.fixture(params=["indexer", "view"])
def serving(request: pytest.FixtureRequest, owner: Database) -> Iterator[Serving]:
    """The index of the store: of the one that writes it, or of one that only reads it."""
    if request.param == "indexer":
        yield owner.index.searchable
        return
    with timeline.open(owner.engine.path, OPTIONS, read_only=True) as db:
        yield db.index.searchable


def test_it_says_how_far_it_reaches(serving: Serving, owner: Database) -> None:
    lsn = owner.engine.applied
    serving.wait(lsn, 20)
    assert serving.alive
    assert serving.reached == serving.index.reached == lsn
    figures = serving.stats()
    assert (figures["index_lsn"], figures["index_lag"]) == (lsn, 0)
    assert figures["index_documents"] == 1
    assert int(figures["index_bytes"]) > 0
    assert figures["index_last_failure"] == ""


def test_who_waits_hears_whether_it_came(serving: Serving, owner: Database) -> None:
    heard: list[bool] = []
    serving.when_reached(owner.engine.applied, heard.append)()
    assert heard == [True], "it was there, and calling off what is over does nothing"
    with pytest.raises(IndexLagError, match=r"has reached commit \d+ and 1000000 was asked for"):
        serving.wait(1_000_000, 0.0)
    serving.stop()
    assert heard == [True]


def test_what_is_waited_for_comes(serving: Serving, owner: Database) -> None:
    for _ in range(3):
        owner.timeline("log:a").append({"text": "word"})
        serving.wait(owner.engine.applied, 20)
    assert serving.index.documents == 4


@pytest.mark.parametrize("fault", [IndexDamageError, IndexFaultError])
def test_a_fault_is_an_index_that_lags(
    serving: Serving, owner: Database, fault: type[IndexFaultError]
) -> None:
    """To callers; what it means to the index is for whoever keeps it up."""
    with pytest.raises(IndexLagError) as refused, serving.trusting():
        raise fault("a posting is missing")
    assert isinstance(refused.value.__cause__, fault)
    serving.wait(owner.engine.applied, 20)
    with serving.trusting() as index:
        assert index.documents == 1


def test_an_error_of_the_callers_own_is_no_fault(serving: Serving) -> None:
    with pytest.raises(ZeroDivisionError), serving.trusting() as index:
        raise ZeroDivisionError
    assert serving.index is index
    assert serving.failure == ""


def test_there_may_be_no_index_to_search(tmp_path: Path) -> None:
    (tmp_path / "place").write_text("a file, and no directory")
    options = replace(OPTIONS, search_directory=str(tmp_path / "place"))
    with timeline.open(tmp_path / "store", options) as db:
        serving = db.index.searchable
        with pytest.raises(IndexLagError, match="no search index yet, since making it failed"):
            _ = serving.index
        figures = serving.stats()
        assert serving.reached == figures["index_lsn"] == figures["index_documents"] == 0
        assert int(figures["index_failures"]) > 0
        assert "place" in str(figures["index_last_failure"])
        with timeline.open(tmp_path / "store", options, read_only=True) as reader:
            view = reader.index.searchable
            with pytest.raises(IndexLagError):
                _ = view.index
            assert view.reached == 0
