"""Texts and the queries that may find them: few words, of several scripts, in every form."""

from __future__ import annotations

from hypothesis import strategies as st

WORDS = (
    "see",
    "you",
    "sea",
    "crème",
    "creme",
    "添加",
    "添",
    "好友",
    "已",
    "한국",
    "สวัสดี",
    "🎉",
    "e-mail",
    "x1",
    "ｶﾞｷﾞ",
    "ガ",
    "Ας",
    "ΑΣ",
    "مَرْحَبًا",
    "مرحبا",
)
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).flatmap(
    lambda words: st.sampled_from(["", " ", ", "]).map(lambda between: between.join(words))
)
terms = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(
        (
            "se*",
            "cre*",
            "title:see",
            "text:you",
            '"see you"',
            '"you se"*',
            "NOT sea",
            "NOT 添",
            "مرح*",
        )
    ),
)
queries = st.lists(terms, min_size=1, max_size=3).flatmap(
    lambda parts: st.sampled_from([" ", " OR ", " AND ", " NOT "]).map(
        lambda between: between.join(parts)
    )
)
FINDS = (
    "city:see",
    "city:se*",
    'city:"see you" OR owner:添',
    "se* NOT city:see",
    "NOT owner:(sea OR you)",
    "مرحبا",
)
