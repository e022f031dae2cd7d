"""What people type means something, and what it means is written here."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from timeline.errors import TooLargeError, UsageError
from timeline.search.text.language import ANY_FIELD, All, Any, Expression, Not, Words, parse

FIELDS = ("text", "title")


def w(*tokens: str, prefix: bool = False, field: str | None = None) -> Words:
    return Words(tokens, prefix, field)


a, b, c = w("a"), w("b"), w("c")


@pytest.mark.parametrize(
    ("query", "meaning"),
    [
        ("a", a),
        ("A", a),
        ("a b", All((a, b))),
        ("a AND b", All((a, b))),
        ("a OR b c", Any((a, All((b, c))))),
        ("a b OR c", Any((All((a, b)), c))),
        ("(a OR b) c", All((Any((a, b)), c))),
        ("a and b", All((a, w("and"), b))),
        ("a NOT b", All((a, Not(b)))),
        ("a a b a", All((a, b))),
        # A dash is text: people paste commands and their options.
        ("a -b", All((a, b))),
        ("rm -rf x", All((w("rm"), w("rf"), w("x")))),
        ("--force", w("force")),
        ("--dry-run", w("dry", "run")),
        ("-be*", w("be", prefix=True)),
        ("a NOT -b", All((a, Not(b)))),
        ("NOT --force", Not(w("force"))),
        ("-title:a", w("title", "a")),
        ("x - NOT y", All((w("x"), Not(w("y"))))),
        ("NOT NOT a", a),
        ("NOT (a b)", Not(All((a, b)))),
        ("-(a b)", All((a, b))),
        ('"a b" c', All((w("a", "b"), c))),
        ("e-mail", w("e", "mail")),
        ("a - b", All((a, b))),
        ("hel*", w("hel", prefix=True)),
        ('"see hel"*', w("see", "hel", prefix=True)),
        ("title:a", w("a", field="title")),
        ('title:"a b"', w("a", "b", field="title")),
        ("title:(a OR b) c", All((Any((w("a", field="title"), w("b", field="title"))), c))),
        ("NOT title:(a text:b)", Not(All((w("a", field="title"), w("b", field="text"))))),
        ("title:(a (b)) c", All((All((w("a", field="title"), w("b", field="title"))), c))),
        ("nosuch:(a b)", All((w("nosuch"), All((a, b))))),
        ("title:() a", a),
        ("nosuch:a", w("nosuch", "a")),
        ("http://a.b", w("http", "a", "b")),
        ("添加好友", w("添", "加", "好", "友")),
        ("添加 hi", All((w("添", "加"), w("hi")))),
        ("添*", w("添")),
        ("ＦＵＬＬ", w("full")),
        ("Crème", w("creme")),
        ("cre\u0300me", w("creme")),
        ("สวัสดี", w(*"สวัสดี")),
        ("한국", w("한", "국")),
        ("🎉", w("🎉")),
        ("हिन्दी", w("हिन्दी")),
        # What was not finished, or is not to be taken literally.
        ('"a b', w("a", "b")),
        ("(a", a),
        (")) a ((", a),
        ("a)b", All((a, b))),
        ("a OR", a),
        ("AND a", a),
        ("OR OR a", a),
        ("a NOT", a),
        ("see :) you", All((w("see"), w("you")))),
        ("+a", a),
        ("a^2", w("a", "2")),
        ("[a TO b]", All((a, w("to"), b))),
        ("/a/", a),
        # As telephones and other keyboards put it.
        ("“a b” c", All((w("a", "b"), c))),
        ("„a b“ «b c»", All((w("a", "b"), w("b", "c")))),
        ("＂添加＂（a OR b）", All((w("添", "加"), Any((a, b))))),
        ("title：a", w("a", field="title")),
    ],
)
def test_a_query_means(query: str, meaning: Expression) -> None:
    assert parse(query, FIELDS) == meaning


@pytest.mark.parametrize("query", ["a*", '"b a"*', "*a*"])
def test_a_beginning_of_one_letter_is_refused(query: str) -> None:
    with pytest.raises(UsageError, match="at least 2 letters"):
        parse(query, FIELDS)


def test_metadata_has_any_field() -> None:
    assert parse("city:oslo", ANY_FIELD) == w("oslo", field="city")


@pytest.mark.parametrize(
    "query", ["", " ", '"', '""', "AND", "NOT", "-", "()", "*", ":)", "...", "OR OR"]
)
def test_nothing_to_search_for_is_refused(query: str) -> None:
    with pytest.raises(UsageError, match="no word"):
        parse(query, FIELDS)


@pytest.mark.parametrize(
    "query",
    [
        "x" * 4_097,
        "x " * 65,
        "(" * 17 + "a",
        "添" * 129,
        "添 hi " * 33,
        "-" * 4_097,
        "é" * 2_049,
        "x" * 513 + "*",
        "ж" * 257 + "*",
        '"' + "x" * 508 + ' hello"*',
        "title:" + "x" * 507 + "*",
        " ".join(f"be{number}*" for number in range(17)),
    ],
)
def test_too_much_is_refused(query: str) -> None:
    with pytest.raises(TooLargeError):
        parse(query, FIELDS)


SENTENCE = "".join(chr(0x4E00 + number) for number in range(1_365))


@pytest.mark.parametrize("size", [1, 64, 65, 256, 1_365])
def test_a_sentence_without_spaces_is_one_word(size: int) -> None:
    assert parse(SENTENCE[:size], FIELDS) == w(*SENTENCE[:size])


def test_as_much_as_may_be_is_taken() -> None:
    assert parse("x" * 4_096, FIELDS) == w("x" * 4_096)
    assert parse("x" * 512 + "*", FIELDS) == w("x" * 512, prefix=True)
    assert parse("添" * 128, FIELDS) == w(*"添" * 128)
    runs = [f"{number:x}添加" for number in range(32)]
    found = parse(" ".join(runs), FIELDS)
    assert isinstance(found, All)
    assert len(found.parts) == 32
    assert parse("be* " * 64, FIELDS) == w("be", prefix=True)


@given(st.text(alphabet=st.sampled_from('ab "()-*:ANDORT添é\0\n\ud800'), max_size=60))
def test_nothing_breaks_it(query: str) -> None:
    try:
        found = parse(query, FIELDS)
    except (UsageError, TooLargeError):
        return
    assert isinstance(found, (Words, Not, All, Any))
