"""The promise: a memo holds no more than it may, and those in use stay."""

from __future__ import annotations

from timeline.formats.memo import Memo


def test_it_holds_at_most_so_many() -> None:
    memo: Memo[int] = Memo(10, 5)
    for number in range(1_000):
        memo.keep(b"%d" % number, number)
    assert 5 <= sum(memo.get(b"%d" % number) == number for number in range(1_000)) <= 10


def test_what_is_asked_for_stays_and_the_rest_goes() -> None:
    memo: Memo[int] = Memo(10, 5)
    memo.keep(b"asked", -1)
    memo.keep(b"not", -2)
    for number in range(100):
        assert memo.get(b"asked") == -1
        memo.keep(b"%d" % number, number)
    assert memo.get(b"not") is None


def test_what_is_too_long_is_not_held() -> None:
    memo: Memo[int] = Memo(10, 5)
    memo.keep(b"short", 1)
    memo.keep(b"longer", 2)
    assert memo.get(b"short") == 1
    assert memo.get(b"longer") is None
