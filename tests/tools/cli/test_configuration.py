"""The promise: with the configuration of its daemon, a verb finds in a directory what the daemon
finds.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import timeline
from tests.tools.installed import done, names, refused
from timeline.storage.rocks import Storage
from timeline.verification import verify


class Place:
    """A store whose index lies elsewhere and is not of the usual fields."""

    def __init__(self, path: Path) -> None:
        self.data, self.index, self.file = path / "data", path / "fast", path / "timelined.toml"
        self.file.write_text(
            f'search_directory = "{self.index}"\nsearch_fields = ["body"]\n'
            'search_prefixes = ["note:"]\nport = 7420\n'
        )
        self.options = timeline.Options(
            search_directory=str(self.index), search_fields=("body",), search_prefixes=("note:",)
        )
        with timeline.open(self.data, self.options) as db:
            db.timeline("note:1").append({"body": "nine sharp"})
            db.messaging.create("team", "ann")
            db.messaging.send("team", "ann", {"body": "half past nine"})
            db.search("nine", wait=30.0)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_index_is_found_where_it_is(place: Place) -> None:
    told = ("--config", place.file)
    assert json.loads(done("search", place.data, "nine", *told, "--json"))["total"] == 2
    facts = json.loads(done("inspect", place.data, *told, "--json"))
    assert facts["search"]["index_documents"] == 2
    stats = json.loads(done("stats", place.data, *told, "--json"))
    assert stats["timeline"]["index_documents"] == 2
    report = json.loads(done("verify", place.data, *told, "--json", "--index", "whole"))
    assert (report["sound"], report["documents"]) == (True, 2)


def test_an_index_elsewhere_is_held_against_the_store(place: Place) -> None:
    with timeline.open(place.data, place.options, search=False) as db:
        storage: Storage = db.engine.store.storage
        db.engine.seal()
        batch = storage.batch()
        batch.delete("segments", next(storage.keys("segments", b"", b"\xff" * 17)))
        storage.write(batch)
    report = verify(place.data, options=place.options, index="whole")
    assert any(finding.family == "index" for finding in report.findings)


def test_an_index_is_built_as_its_daemon_has_it(place: Place) -> None:
    done("reindex", place.data, "--config", place.file)
    assert "index" not in names(place.data)
    with timeline.open(place.data, place.options) as db:
        assert db.search("nine").total == 2
        assert db.index.searchable.builds == 0, "it is there already"


def test_a_configuration_that_cannot_be_is_refused(place: Place) -> None:
    place.file.write_text("prot = 7420")
    problem = refused("verify", place.data, "--config", place.file, status=2)
    assert "there is no option prot: did you mean port?" in problem
    problem = refused("stats", "--connect", ":7420", "--config", place.file, status=2)
    assert "a daemon has its own" in problem
