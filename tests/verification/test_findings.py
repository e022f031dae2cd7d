"""A finding says where it is, for people and as JSON."""

from __future__ import annotations

import json

import pytest

from timeline.formats.stretches import OPEN, Stretch
from timeline.verification import Finding, Report
from timeline.verification.snapshot.findings import within


@pytest.mark.parametrize(
    ("finding", "place"),
    [
        (Finding("state", "x", b"\1\2"), "state 0102"),
        (Finding("segments", "x", b"\1", b"audit", 7), "segments 'audit' 7"),
        (Finding("log", "x", number=9), "log 9"),
        (Finding("files", "x"), "files"),
    ],
)
def test_the_place_of_a_finding(finding: Finding, place: str) -> None:
    assert finding.place == place


def test_a_finding_as_json() -> None:
    found = Finding("segments", "gone", b"\xff", b"caf\xe9", 7, lost=True).document()
    assert json.loads(json.dumps(found)) == {
        "family": "segments",
        "key": "ff",
        "timeline": "caf\\xe9",
        "number": 7,
        "lost": True,
        "text": "gone",
    }


def test_a_report_is_sound_without_findings() -> None:
    assert Report().sound
    assert not Report([Finding("files", "x")]).sound


def test_stretches_end_at_the_head() -> None:
    one, other = Stretch(1, 90, 1, 1, 5), Stretch(95, OPEN, 1, OPEN, OPEN)
    assert within([one, other], 10) == (
        one._replace(last=10),
        other._replace(first=11),
    )
