"""What can be wrong with replies, quotes, reposts and their counts, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.verification.damage import change, flipped, pairs, put
from tests.verification.damages import (
    added,
    cut,
    gone,
    id_of,
    nothing,
    one,
    row_of,
    swapped,
    without_row,
)
from timeline.bitmaps import encoded
from timeline.formats import keys
from timeline.formats.entries import encode_entry
from timeline.formats.posts import (
    COUNTS,
    QUOTE,
    REACTION,
    REPLY,
    REPOST,
    Counts,
    Link,
    Reaction,
    counts_key,
    decode_counts,
    encode_counts,
    encode_repost,
    link_key,
    reaction_key,
    repost_key,
    split_link_key,
)


class Damage(NamedTuple):
    """What is done to a store, and in which words it must be told of. `other` where posts name
    something else afterwards, so that the rows are others.
    """

    words: str
    do: Callable[[Path], object]
    other: bool = False


def feed(path: Path, author: str) -> int:
    return id_of(path, f"@feed:{author}")


def without(family: bytes, author: str, seq: int) -> Callable[[Path], object]:
    """The first row of a post goes."""
    return lambda path: change(path, "state", family + keys.pair(feed(path, author), seq), gone)


def link(
    family: bytes, target: tuple[str, int], by: tuple[str, int], lsn: int, value: bytes = b""
) -> Callable[[Path], object]:
    """Another row says that a post replies to another, or quotes it."""

    def do(path: Path) -> None:
        made = Link(feed(path, target[0]), target[1], lsn, 0, feed(path, by[0]), by[1])
        put(path, "state", link_key(family, made), value)

    return do


def moved(changed: Callable[[Link], Link]) -> Callable[[Path], object]:
    """The first row of a reply to ann/3 is another."""

    def do(path: Path) -> None:
        key, _ = pairs(path, "state", REPLY + keys.pair(feed(path, "ann"), 3))[0]
        put(path, "state", key, None)
        put(path, "state", link_key(REPLY, changed(split_link_key(key))), b"")

    return do


def reacted_by_nobody(seq: int, kind: int) -> Callable[[Path], object]:
    return lambda path: put(path, "state", reaction_key(feed(path, "ann"), seq, kind, 0), None)


def repost(target: tuple[str, int], by: str, seq: int) -> Callable[[Path], object]:
    def do(path: Path) -> None:
        key = repost_key(feed(path, target[0]), target[1], feed(path, by))
        put(path, "state", key, encode_repost(seq))

    return do


def counts(author: str, seq: int, *amounts: int) -> Callable[[Path], object]:
    def do(path: Path) -> None:
        key = counts_key(feed(path, author), seq)
        put(path, "state", key, encode_counts(Counts(amounts[0], amounts[1], amounts[2])))

    return do


def recounted(change_it: Callable[[Counts], Counts]) -> Callable[[Path], object]:
    """The counts of ann/3 are others."""

    def do(path: Path) -> None:
        key = counts_key(feed(path, "ann"), 3)
        change(path, "state", key, lambda value: encode_counts(change_it(decode_counts(value))))

    return do


def reactions(change_it: Callable[[list[Reaction]], list[Reaction]]) -> Callable[[Path], object]:
    """The reactions that ann/3 is counted to have are others."""
    return recounted(
        lambda found: found._replace(reactions=tuple(change_it(list(found.reactions))))
    )


def reacted(
    seq: int, kind: int, *users: str | int, chunk: int = 0, author: str = "ann"
) -> Callable[[Path], object]:
    """By one row these have a reaction to a post."""

    def do(path: Path) -> None:
        ids = [each if isinstance(each, int) else id_of(path, f"@home:{each}") for each in users]
        put(path, "state", reaction_key(feed(path, author), seq, kind, chunk), encoded(ids))

    return do


def post(author: str, seq: int, *items: bytes) -> Callable[[Path], object]:
    """A post is another."""
    return lambda path: put(
        path, "patches", keys.pair(feed(path, author), seq), encode_entry(seq, items)
    )


def reposted_unnoted(path: Path) -> None:
    """Three posts of dan repost ann/3, and no row says so."""
    for seq in (1, 2):
        post("dan", seq, b"@repost", b"ann/3")(path)
    put(path, "state", repost_key(feed(path, "ann"), 3, feed(path, "dan")), None)


DAMAGES = {
    "reply gone": Damage(
        "'cat/2' replies to 'ann/3', and is not among its replies", without(REPLY, "ann", 3)
    ),
    "quote gone": Damage(
        "'dan/2' quotes 'ann/3', and is not among its quotes", without(QUOTE, "ann", 3)
    ),
    "quote of a name with a slash gone": Damage(
        "'dan/3' quotes 'a/b/1', and is not", without(QUOTE, "a/b", 1)
    ),
    "repost gone": Damage(
        "'ann/21' reposts 'ann/3', and is not among its reposts", without(REPOST, "ann", 3)
    ),
    "reply to a deleted post gone": Damage(
        "'eve/5' replies to 'ann/10', and is not", without(REPLY, "ann", 10)
    ),
    "replies gone": Damage("is not among its replies", nothing("state", REPLY)),
    "quotes gone": Damage("is not among its quotes", nothing("state", QUOTE)),
    "reposts gone": Damage("is not among its reposts", nothing("state", REPOST)),
    "all counts gone": Damage("which is not noted", nothing("state", COUNTS), other=True),
    "counts gone": Damage(
        "are 5, 4 and 1 (reactions: 3 'lost-0', 1 'lost-1'), which is not noted",
        without(COUNTS, "ann", 3),
        other=True,
    ),
    "miscounted": Damage("are 1, 1 and 0, and 6, 0 and 1 are noted", counts("cat", 2, 6, 0, 1)),
    "counts of nothing": Damage("0, 0 and 0, and 1, 0 and 0 are noted", counts("ann", 7, 1, 0, 0)),
    "counts of zero": Damage("0, 0 and 0, and 0, 0 and 0 are noted", counts("ann", 7, 0, 0, 0)),
    "counts beyond the head": Damage("'ann/900' are 0", counts("ann", 900, 0, 0, 2)),
    "counts of no feed": Damage(
        "post 3 of feed 9999", added("state", counts_key(9_999, 3), bytes(24))
    ),
    "counts cut": Damage("the row of the counts of a post is damaged", one("state", COUNTS, cut)),
    "reactions miscounted": Damage(
        "3 'like', 1 'wow'), and 5, 4 and 1 (reactions: 3 'like', 7 'wow') are",
        reactions(lambda found: [found[0], found[1]._replace(users=7)]),
    ),
    "reaction that nobody has": Damage(
        "1 'wow', 2 'ha') are noted", reactions(lambda found: [*found, Reaction(2, 2, b"ha")])
    ),
    "reaction that is not counted": Damage(
        "3 'like', 1 'lost-1'), and", reactions(lambda found: found[:1]), other=True
    ),
    "reactions of one name": Damage(
        "3 'like', 1 'lost-1'), and",
        reactions(lambda found: [found[0], found[1]._replace(name=b"like")]),
        other=True,
    ),
    "reaction of one kind twice": Damage(
        "1 'wow', 3 'ha') are noted",
        reactions(lambda found: [*found, found[0]._replace(name=b"ha")]),
    ),
    "reaction without a name": Damage(
        "3 'like', 1 'lost-1'), and",
        reactions(lambda found: [found[0], found[1]._replace(name=b"")]),
        other=True,
    ),
    "reaction called as what is counted by itself": Damage(
        "3 'like', 1 'lost-1'), and",
        reactions(lambda found: [found[0], found[1]._replace(name=b"replies")]),
        other=True,
    ),
    "names of reactions that are taken": Damage(
        "3 'lost-1', 1 'lost-1-'), and",
        reactions(lambda found: [found[0]._replace(name=b"lost-1")]),
        other=True,
    ),
    "row of a reaction gone": Damage(
        "1 (reactions: 3 'like'), and", reacted_by_nobody(3, 1), other=True
    ),
    "row of a reaction cut": Damage(
        "a row of the reactions to 'ann/3' is damaged", one("state", REACTION, cut), other=True
    ),
    "row of a reaction empty": Damage("is damaged", reacted(12, 0), other=True),
    "reaction of a kind that cannot be": Damage("'ann/3' is damaged", reacted(3, 40, "bob")),
    "reaction beyond a chunk": Damage("'ann/3' is damaged", reacted(3, 4, 5_000)),
    "reaction of users to come": Damage("'ann/3' is damaged", reacted(3, 4, 1, chunk=2**52 - 1)),
    "reaction of no user": Damage(
        "1 of the reactions to 'ann/3' are of nobody", reacted(3, 1, "dan", 1)
    ),
    "reactions of no user": Damage(
        "2 of the reactions to 'ann/3' are of nobody", reacted(3, 4, 1, 2)
    ),
    "reaction to what is not there": Damage(
        "1 of the reactions to 'ann/900' are left", reacted(900, 0, "bob")
    ),
    "reaction to no feed": Damage(
        "1 of the reactions to post 3 of feed 9999 are left",
        added("state", reaction_key(9_999, 3, 0, 0), encoded([5])),
    ),
    "key of a reaction": Damage("this key is of no post", added("state", REACTION + b"x", b"x")),
    "row of a home that only reacted gone": Damage("it has no row", without_row("@home:gus")),
    "counts swapped": Damage("are noted", swapped("state", COUNTS)),
    "key of counts": Damage("is of no post", added("state", COUNTS + b"x", bytes(24))),
    "long key of counts": Damage("is of no post", added("state", COUNTS + bytes(17), bytes(24))),
    "reply by a feed that is not there": Damage(
        "post 2 of feed 9999 is among the replies of 'ann/3', and there is no such",
        moved(lambda row: row._replace(by=9_999)),
    ),
    "reply by what is no feed": Damage("no such feed", moved(lambda row: row._replace(by=2))),
    "reply that is not there": Damage(
        "'cat/900' is among the replies of 'ann/3', and is not there",
        link(REPLY, ("ann", 3), ("cat", 900), 30),
    ),
    "reply that was deleted": Damage(
        "'eve/3' is among the replies of 'ann/9', and is not there",
        link(REPLY, ("ann", 9), ("eve", 3), 30),
    ),
    "reply to another": Damage(
        "'cat/2' is among the replies of 'ann/4', and does not name it so",
        moved(lambda row: row._replace(seq=4)),
    ),
    "reply to a feed that is not there": Damage(
        "'cat/2' is among the replies of post 3 of feed 9999",
        moved(lambda row: row._replace(feed=9_999)),
    ),
    "reply by another commit": Damage(
        "as thing 0 of commit 9, and is thing 0 of commit 24",
        moved(lambda row: row._replace(lsn=9)),
    ),
    "reply by another ordinal": Damage(
        "as thing 3 of commit 24, and is", moved(lambda row: row._replace(ordinal=3))
    ),
    "reply twice": Damage("as thing 0 of commit 9, and", link(REPLY, ("ann", 3), ("cat", 2), 9)),
    "reply that is a quote": Damage(
        "'cat/2' is among the quotes of 'ann/3', and", link(QUOTE, ("ann", 3), ("cat", 2), 30)
    ),
    "reply with a value": Damage(
        "holds more than a key", one("state", REPLY, lambda value: value + b"x")
    ),
    "key of a reply": Damage("damaged", added("state", REPLY + b"x", b"")),
    "long key of a quote": Damage("damaged", added("state", QUOTE + bytes(41), b"")),
    "key of a repost": Damage("damaged", added("state", REPOST + b"x", bytes(8))),
    "repost cut": Damage("the row of a repost is damaged", one("state", REPOST, cut)),
    "repost by another number": Damage(
        "'dan/1' is among the reposts of 'ann/3', and", repost(("ann", 3), "dan", 1)
    ),
    "repost that is not there": Damage(
        "'eve/4' is among the reposts of 'ann/9', and is not", repost(("ann", 9), "eve", 4)
    ),
    "repost of another": Damage(
        "'bob/1' is among the reposts of 'ann/4', and does not", repost(("ann", 4), "bob", 1)
    ),
    "repost that says something": Damage(
        "'dan/2' quotes 'cat/3', and is not among its quotes",
        post("dan", 2, b"@repost", b"cat/3", b"text", b"x"),
        other=True,
    ),
    "reply to nobody": Damage(
        "'cat/2' replies to 'zoe/3', which is not there",
        post("cat", 2, b"@reply", b"zoe/3", b"text", b"x"),
        other=True,
    ),
    "reply to no post": Damage(
        "'cat/2' replies to 'ann', which is not there",
        post("cat", 2, b"@reply", b"ann", b"text", b"x"),
        other=True,
    ),
    "reply to a number that cannot be": Damage(
        "'cat/2' replies to 'ann/9999999999999999999', which is not there",
        post("cat", 2, b"@reply", b"ann/9999999999999999999", b"text", b"x"),
        other=True,
    ),
    "reply to nobody and quote of nobody": Damage(
        "'cat/2' quotes 'yan/1', which is not there",
        post("cat", 2, b"@reply", b"zoe/3", b"@repost", b"yan/1", b"text", b"x"),
        other=True,
    ),
    "reposts of nobody": Damage(
        "which is not there",
        lambda path: [post("cat", seq, b"@repost", b"zoe/3")(path) for seq in (2, 5)],
        other=True,
    ),
    "reply beyond the head": Damage(
        "'cat/2' replies to 'ann/80', and the posts of 'ann' end at 22",
        lambda path: [
            post("cat", seq, b"@reply", b"ann/%d" % to, b"text", b"x")(path)
            for seq, to in ((2, 80), (5, 70), (6, 75))
        ],
        other=True,
    ),
    "reposted twice": Damage(
        "'dan/1' reposts 'ann/3', and so does", post("dan", 1, b"@repost", b"ann/3"), other=True
    ),
    "reposted three times, and not noted": Damage(
        "'dan/1' reposts 'ann/3', and is not among", reposted_unnoted, other=True
    ),
    "name of a feed gone": Damage("its name leads to nothing", one("state", b"n@feed:ann", gone)),
    "name of a feed cut": Damage("leads nowhere", one("state", b"n@feed:ann", cut)),
    "name of a feed that replies gone": Damage("leads", one("state", b"n@feed:cat", gone)),
    "row of a feed gone": Damage("it has no row", without_row("@feed:ann")),
    "row of a feed that replies gone": Damage("it has no row", without_row("@feed:cat")),
    "row of a feed is no home's": Damage("does not fit", row_of("@feed:cat", kind=1)),
    "segment of replies flipped": Damage(
        "damaged",
        lambda path: change(path, "segments", keys.number(feed(path, "cat")), flipped),
        other=True,
    ),
}
