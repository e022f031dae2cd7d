"""However a word is written, it is the same word; and what is another word stays another."""

from __future__ import annotations

from unicodedata import normalize

import pytest
from hypothesis import given, strategies as st

from timeline.search.text.analysis import LONGEST, tokens, words
from timeline.search.text.folding import compose, fold, fold_placed
from timeline.search.text.language import MOST_BYTES


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Latin: case, accents, ligatures, width
        ("Crème BRÛLÉE naïve Ångström", "creme brulee naive angstrom"),
        ("Việt Nam, ẹ́ kọ́, ǧ Ǯ", "viet nam e ko g ʒ"),
        ("Straße STRASSE ẞ", "strasse strasse ss"),
        ("İstanbul ISTANBUL ıstanbul", "istanbul istanbul istanbul"),
        ("Æsir œuvre ﬁne Ｆｕｌｌ", "aesir oeuvre fine full"),
        ("co\u00adoperate h\u0336e\u0336y\u0336", "cooperate hey"),
        # Greek
        ("Άνθρωπος ΑΝΘΡΩΠΟΣ ανθρωποσ", "ανθρωποσ ανθρωποσ ανθρωποσ"),
        ("ΐ Ϋ ᾧ ᾼ ὕδωρ µ ϑ", "ι υ ω α υδωρ μ θ"),
        # Cyrillic: й, ї and ў are letters, the stress and the dots of ё are none
        ("за́мок Ёлка ещё", "замок елка еще"),
        ("МОЙ мои Їжак Ўзбек ќ ѓ", "мой мои їжак ўзбек ќ ѓ"),
        ("և ﬓ", "եւ մն"),
        # Hebrew and Arabic
        ("שָׁלוֹם שלום ﬡ", "שלום שלום א"),
        ("מַה\u05beזֶּה", "מה זה"),
        ("مَرْحَبًا مرحبا مـــرحبا", "مرحبا مرحبا مرحبا"),
        ("أحمد إلى آب مؤمن شيء", "احمد الي اب مومن شيء"),
        ("ﻣﺮﺣﺒﺎ ﻻ هٰذا", "مرحبا لا هذا"),
        ("می‌خواهم", "مي خواهم"),
        ("کتاب كتاب فارسی فارسي جديدة ٣ ۳", "كتاب كتاب فارسي فارسي جديده 3 3"),
        # what is written without spaces: a character each
        ("添加abc好", "添 加 abc 好"),
        ("葛\U000e0100飾 𠮷野", "葛 飾 𠮷 野"),
        ("ガギ が ハ パ バ", "ガ ギ が ハ パ バ"),
        ("ｶﾞｷﾞ ﾊﾟ ﾀﾜｰ ｳﾞ", "ガ ギ パ タ ワ ー ヴ"),
        ("か\u3099 ハ\u309a", "が パ"),
        ("한국 ㅋ", "한 국 ㅋ"),
        ("น้ำดี", "น ้ ำ ด ี"),
        ("ລາວ ខ្មែរ", "ລ າ ວ ខ ្ ម ែ រ"),
        # a vowel sign is part of its word
        ("हिन्दी தமிழ் বাংলা", "हिन्दी தமிழ் বাংলা"),
        # emoji
        ("👩\u200d👧 👍🏽 ❤\ufe0f 1\ufe0f\u20e3 🇩🇪ok", "👩 👧 👍 🏽 ❤ 1 🇩 🇪 ok"),
        # what machines write
        ("https://a.example/b_c?d=1", "https a example b_c d 1"),
        ("bob@mail.example 1,234.5", "bob mail example 1 234 5"),
        ("foo_bar fooBar a->b C++", "foo_bar foobar a b c"),
    ],
)
def test_the_words_of_a_text(text: str, expected: str) -> None:
    assert words(text) == expected.split(" ")
    assert words(normalize("NFD", text)) == expected.split(" ")


def test_a_token_is_as_long_as_what_can_be_asked_for() -> None:
    assert LONGEST == MOST_BYTES
    assert words("a " + "x" * LONGEST) == ["a", "x" * LONGEST]
    assert words("a " + "x" * (LONGEST + 1)) == ["a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hi שָׁלוֹם!", ["hi", "שָׁלוֹם"]),
        ("ﾀﾜｰｶﾞ", ["ﾀ", "ﾜ", "ｰ", "ｶﾞ"]),
        ("ﻻ أب", ["ﻻ", "أب"]),
        ("I ❤\ufe0f it", ["I", "❤\ufe0f", "it"]),
    ],
)
def test_where_the_words_stand(text: str, expected: list[str]) -> None:
    composed = compose(text)
    assert [composed[token.start : token.stop] for token in tokens(composed)] == [
        compose(each) for each in expected
    ]


odd = st.text(
    alphabet=st.sampled_from(
        "aé かｶハ\uff9e\uff9f\u3099\u309a\u0301\u0651\u0640\u05b8שאأﻻﹻςΐйё葛"
        "\ufe0f\u200d\u00ad👩🏽한ำ\0"
    )
    | st.characters(codec="utf-8"),
    max_size=12,
)


@given(odd)
def test_folding_is_done_once_and_its_places_are_true(text: str) -> None:
    composed = compose(text)
    folded = fold(composed)
    assert fold(folded) == folded
    placed, places = fold_placed(composed)
    assert placed == folded
    assert len(places) == len(folded) + 1
    assert places == sorted(places)
    assert [token.text for token in tokens(composed)] == words(text)
    assert all(token.start < token.stop <= len(composed) for token in tokens(composed))
    assert words(normalize("NFD", text)) == words(text)
