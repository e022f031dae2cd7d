"""What is folded, what stays, and where each character of the outcome stands."""

from __future__ import annotations

import pytest

from timeline.search.text.folding import compose, fold, fold_placed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("e\u0301t\u0336e", "éte"),  # an accent of Latin is left to tantivy, a stroke is dropped
        ("ΐσας", "ισασ"),
        ("שָׁלוֹם", "שלום"),
        ("ｶﾞ", "ガ"),
        ("co\u00adop", "coop"),
        ("йїў が 한", "йїў が 한"),  # letters of their own
    ],
)
def test_what_is_folded(text: str, expected: str) -> None:
    assert fold(compose(text)) == compose(expected)


def test_a_text_without_anything_to_fold_is_not_copied() -> None:
    for text in ("plain words", "été 明天"):
        assert fold(text) is text


def test_the_place_of_each_character() -> None:
    assert fold_placed("aשָׁb") == ("aשb", [0, 1, 4, 5])
