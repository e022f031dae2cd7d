"""Snippets: the matches are marked, as people see them, and nothing in them is markup but that."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given, strategies as st

from timeline.errors import UsageError
from timeline.search.text.folding import compose
from timeline.search.text.language import parse
from timeline.search.text.snippets import snippet

FIELDS = ("text", "title")


def marked(query: str, text: str, **others: str) -> str:
    return snippet([("text", text), *others.items()], parse(query, FIELDS))


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("hello", "Hello there", "<b>Hello</b> there"),
        ("添加", "我已添加为好友", "我已<b>添加</b>为好友"),
        ("添 加", "添加好友", "<b>添加</b>好友"),
        ("加", "加油加", "<b>加</b>油<b>加</b>"),
        ('"see you"', "see you see YOU", "<b>see you</b> <b>see YOU</b>"),
        ("frie*", "friendly fire", "<b>friendly</b> fire"),
        ("fire NOT friend", "friend fire", "friend <b>fire</b>"),
        ("creme", "crème brûlée", "<b>crème</b> brûlée"),
        ("a", "<a href='x'>&", "&lt;<b>a</b> href=&#x27;x&#x27;&gt;&amp;"),
        ("title:x", "x", "x"),
        ("nothing", "else", "else"),
    ],
)
def test_a_snippet(query: str, text: str, expected: str) -> None:
    assert marked(query, text) == expected


def test_the_field_that_was_found_is_shown() -> None:
    assert marked("minutes", "see here", title="Minutes of today") == "<b>Minutes</b> of today"


def test_a_long_text_is_cut_around_the_first_match() -> None:
    text = "word " * 100 + "needle" + " word" * 100
    found = marked("needle", text)
    assert found.startswith("…word ")
    assert found.endswith(" word…")
    assert "<b>needle</b>" in found
    assert len(found) < 220


@given(
    st.text(alphabet=st.sampled_from("ab添加 <>&'\"é🎉e\u0301"), max_size=400),
    st.text(alphabet=st.sampled_from("ab添加 é"), min_size=1, max_size=6),
)
def test_without_the_marks_it_is_a_part_of_the_text(text: str, query: str) -> None:
    try:
        found = marked(query, text)
    except UsageError:
        return
    plain = re.sub("</?b>", "", found)
    assert not re.search("[<>]", plain)
    assert unescape(plain).strip("…") in compose(text)
    assert found.count("<b>") == found.count("</b>")
    assert "</b><b>" not in found
