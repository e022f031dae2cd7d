"""What names an index, and the order in which entries are found."""

from __future__ import annotations

import pytest

from timeline.search.index.schema import fingerprint, pair_of, rank_of, read_fingerprint


def test_a_fingerprint_names_fields_and_prefixes() -> None:
    made = fingerprint(("text", "größe"), (b"log:", b"@conv:"))
    assert read_fingerprint(made) == (("text", "größe"), (b"@conv:", b"log:"))
    assert made == fingerprint(("text", "größe"), (b"@conv:", b"log:"))
    assert made != fingerprint(("größe", "text"), (b"@conv:", b"log:"))


def test_what_is_no_fingerprint_is_refused() -> None:
    with pytest.raises(ValueError, match="values to unpack"):
        read_fingerprint("an older form")


def test_newer_commits_rank_above_older_and_within_one_higher_numbers() -> None:
    ranks = [rank_of(1, 9), rank_of(2, 1), rank_of(2, 2), rank_of(2**44, 1)]
    assert ranks == sorted(set(ranks))
    assert rank_of(2**60, 1) == 2**64 - 1, "it still fits"


def test_a_pair_is_the_field_and_the_words_of_the_value() -> None:
    assert pair_of("city", ["new", "york"]) == "city=new york"
