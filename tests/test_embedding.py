"""The promise: docs/embedding.md names every call of the embedded API as it is to be called, and
its example prints what is shown.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

import timeline
from timeline import Database, LogView, TimelineHandle, Transaction, verification
from timeline.embedded.feeds import FeedCalls
from timeline.embedded.messaging import Messaging
from timeline.embedded.messaging.subscription import Subscription
from timeline.entry import Fields

PAGE: Final = (Path(__file__).parent.parent / "docs" / "embedding.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("program", "shown"), list(zip(blocks("python"), blocks("text"), strict=True))
)
def test_an_example_prints_what_is_shown(
    program: str,
    shown: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "embedding.md", "exec"), {})
    assert capsys.readouterr().out == shown


def test_a_field_that_is_missing_is_told_with_those_there_are(tmp_path: Path) -> None:
    """Also of a page of a device, in which recalls and reads have no text."""
    with timeline.open(tmp_path, search_commit_ms=10) as db:
        im = db.messaging
        im.create("team", "ann", members=["bob"])
        before = im.conversations("bob").position
        im.send("team", "ann", {"text": "word"})
        (sent,) = im.history("team", "bob")
        (told,) = im.sync("bob", "phone", after=before).entries
        (hit,) = im.search("bob", "word", wait=20).hits
        (raw,) = db.timeline("@conv:team")
    for entry in (sent, told, hit, raw):
        assert entry.text("text") == entry.text("text", "-") == "word"
        assert entry.text("title", "") == ""
        with pytest.raises(KeyError, match="no field 'title'; there are: '@from', '@time', 'text'"):
            entry.text("title")
    assert Fields([]).text(b"a", "b") == "b"
    with pytest.raises(KeyError, match="there are: none"):
        Fields([]).text("a")


def signature(owner: type, name: str) -> str:
    """A call as one writes it: without types, without `self`."""
    found = inspect.signature(getattr(owner, name))
    _, *parameters = [
        each.replace(annotation=inspect.Parameter.empty) for each in found.parameters.values()
    ]
    plain = found.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    return f"{owner.__name__}.{name}{plain}".replace("'", '"')


def function_signature(call: Callable[..., object]) -> str:
    found = inspect.signature(call)
    plain = [each.replace(annotation=inspect.Parameter.empty) for each in found.parameters.values()]
    without = found.replace(parameters=plain, return_annotation=inspect.Signature.empty)
    return f"{call.__name__}{without}".replace("'", '"')


def test_every_call_is_there_as_it_is_to_be_called() -> None:
    shown = [line.partition("  #")[0] for text in blocks("signatures") for line in text.split("\n")]
    owners = (Messaging, FeedCalls, Subscription, Database, TimelineHandle, Transaction, LogView)
    expected = [
        signature(owner, name)
        for owner in owners
        for name, _ in inspect.getmembers(owner, inspect.isfunction)
        if not name.startswith("_")
    ]
    expected += [
        function_signature(call) for _, call in inspect.getmembers(verification, inspect.isfunction)
    ]
    assert sorted(filter(None, shown)) == sorted(expected)
