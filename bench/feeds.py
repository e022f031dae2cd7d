"""Feeds: publishing to any number of followers beside Redis, and what a reader of a home waits for.

Run by `python -m bench.feeds` (and by `make bench`). Publishing: a 100-byte text from 50
connections to an author with 10 to 100,000 followers. Beside it is what one does with Redis today:
a ZADD to the home of each follower, and a ZREMRANGEBYRANK that keeps the newest 800 of it. These
are run one after the other, as long pipelines, and their times are added. A rate counts posts.

Homes: a page of 50 of 5,000 authors, by one client in Python. Beside it a ZREVRANGE, and a pipeline
of an HGETALL for each post. Reactions of up to a million users to one post, each a new one for the
store as well; beside it a SADD. All sides fsync before they acknowledge.

The rest, also of notes, is not compared with anything: quantiles of single requests, one at a time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from bench import beside
from bench.conversations import TEXT, listed, quantile, user
from bench.pairs import Comparison, Run, Work, drive
from bench.servers import Server

FOLLOWERS: Final = (10, 500, 5_000, 100_000)
AUTHORS: Final = 5_000  # that one user follows, of which
POPULAR: Final = 500  # have so many followers that they are pulled
PAGE: Final = 50
_KEPT: Final = 800  # of a home in Redis
_HOMES: Final = 100_000  # among which the copies go
_LAST_PAGE: Final = 150  # of a home that is read, far below what it keeps
_READS: Final = 200
_NOTED: Final = 200  # posts that others reply and react to
_RUN: Final = 10_000  # commands in a pipeline


def pipelined(client: Any, commands: Iterable[tuple[Any, ...]]) -> None:  # noqa: ANN401
    with client.pipeline(transaction=False) as pipe:
        for number, words in enumerate(commands, 1):
            pipe.execute_command(*words)
            if number % _RUN == 0:
                pipe.execute()
        pipe.execute()


def follow(server: Server, author: str, followers: int) -> None:
    with server.connect() as client:
        client.execute_command("FEED.PUBLISH", author, "*", "text", TEXT)
        pipelined(client, (("FEED.FOLLOW", user(each), author) for each in range(followers)))


# --- beside Redis ---------------------------------------------------------------------------------


def publish(followers: int, requests: int) -> Callable[[Server, Server, int], Comparison]:
    def compare(peer: Server, ours: Server, pairs: int) -> Comparison:
        follow(ours, "author", followers)
        pipeline = min(followers, 500)
        home, number = "home:__rand_int__", "__rand_int__"
        copying = [
            Work(
                name=command[0],
                command=command,
                requests=max(100_000, 20 * pipeline),
                pipeline=pipeline,
                random_up_to=_HOMES,
            )
            for command in (
                ("ZADD", home, number, f"author/{number}"),
                ("ZREMRANGEBYRANK", home, "0", str(-_KEPT - 1)),
            )
        ]
        own = Work(
            name="FEED.PUBLISH",
            command=("FEED.PUBLISH", "author", "*", "text", TEXT),
            requests=requests,
            pipeline=16,
        )
        for work in copying:
            drive(work, peer, work.requests // 10)
        drive(own, ours, requests // 10)
        rows = Comparison(f"publish to {followers:,} followers")
        for _ in range(pairs):
            runs = [drive(work, peer, work.requests) for work in copying]
            seconds = followers * sum(1 / run.per_second for run in runs)
            rows.peer.append(Run(1 / seconds, followers * sum(run.cpu_us for run in runs)))
            rows.ours.append(drive(own, ours, requests))
        return rows

    return compare


def read_homes(peer: Server, ours: Server, pairs: int) -> Comparison:
    with peer.connect() as theirs, ours.connect() as own:
        fill(own)
        copies: list[tuple[Any, ...]] = []
        for number in range(AUTHORS):
            copies.append(("ZADD", "home:me", number, f"author/{number}"))
            copies.append(("HSET", f"author/{number}", "text", TEXT))
        pipelined(theirs, copies)
        rows = Comparison(f"home: {PAGE} of {AUTHORS:,} authors")
        for _ in range(pairs):
            rows.peer.append(timed(peer, lambda: read_copies(theirs)))
            rows.ours.append(timed(ours, lambda: read_home(own)))
    return rows


def react(peer: Server, ours: Server, pairs: int) -> Comparison:
    with ours.connect() as client:
        client.execute_command("FEED.PUBLISH", "liked", "*", "text", TEXT)
    fan = "fan__rand_int__"
    adding, reacting = (
        Work(name=command[0], command=command, requests=50_000, pipeline=16, random_up_to=1_000_000)
        for command in (("SADD", "liked", fan), ("FEED.REACT", "liked", "1", fan, "like"))
    )
    rows = Comparison("reactions to one post")
    for _ in range(pairs):
        rows.peer.append(drive(adding, peer, adding.requests))
        rows.ours.append(drive(reacting, ours, reacting.requests))
    return rows


def fill(client: Any) -> None:  # noqa: ANN401  a Redis client
    """`me` follows all authors. The popular ones are above the limit, and so are pulled."""
    authors = [f"a{number}" for number in range(AUTHORS)]
    pipelined(client, (("FEED.PUBLISH", author, "*", "text", TEXT) for author in authors))
    crowd = [user(number) for number in range(500)]
    for at in range(0, POPULAR, 100):
        popular = authors[at : at + 100]
        pipelined(client, (("FEED.FOLLOW", each, *popular) for each in crowd))
    # One command switches some feeds only, so the follower who is one too many comes by many.
    pipelined(client, (("FEED.FOLLOW", user(500), author) for author in authors[:POPULAR]))
    for at in range(0, AUTHORS, 100):
        client.execute_command("FEED.FOLLOW", "me", *authors[at : at + 100])
    draw = random.Random(1)
    for _ in range(2):
        draw.shuffle(authors)
        pipelined(client, (("FEED.PUBLISH", author, "*", "text", TEXT) for author in authors))


def read_copies(client: Any) -> int:  # noqa: ANN401
    names = client.execute_command("ZREVRANGE", "home:me", 0, PAGE - 1)
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.execute_command("HGETALL", name)
        return len(pipe.execute())


def read_home(client: Any) -> int:  # noqa: ANN401
    return len(listed(client.execute_command("FEED.HOME", "me", "COUNT", PAGE))[b"posts"])


def timed(server: Server, work: Callable[[], int]) -> Run:
    before, begin = server.cpu_seconds(), time.perf_counter()
    for _ in range(_READS):
        if (found := work()) != PAGE:
            raise RuntimeError(f"{server.name} gave {found} posts of {PAGE}")
    seconds = time.perf_counter() - begin
    return Run(_READS / seconds, (server.cpu_seconds() - before) / _READS * 1e6)


# --- with no peer ---------------------------------------------------------------------------------


def single_posts(server: Server) -> Iterator[tuple[str, dict[str, float]]]:
    for followers in FOLLOWERS:
        author = f"author{followers}"
        follow(server, author, followers)
        with server.connect() as client:
            words = ("FEED.PUBLISH", author, "*", "text", TEXT)
            yield (
                f"publish to {followers:,} followers, one at a time",
                quantile(lambda: client.execute_command(*words), 2_000),  # noqa: B023  called here
            )


def single_homes(server: Server) -> Iterator[tuple[str, dict[str, float]]]:
    with server.connect() as client:
        fill(client)
        begin = time.perf_counter()
        read_home(client)
        first = round((time.perf_counter() - begin) * 1e3, 2)
        yield f"home of {AUTHORS:,} authors, the first time", {"ms": first}
        yield f"home: {PAGE} of {AUTHORS:,} authors", quantile(lambda: read_home(client), _READS)
        cursor, position = b"", listed(client.execute_command("FEED.HOME", "me"))[b"position"]
        for number in range(2, _LAST_PAGE + 1):
            after = ("AFTER", cursor) if cursor else ()
            page = client.execute_command("FEED.HOME", "me", *after, "COUNT", PAGE)
            cursor = listed(page)[b"cursor"]
            if number in (20, _LAST_PAGE):
                words = ("FEED.HOME", "me", "AFTER", cursor, "COUNT", PAGE)
                yield f"its page {number}", quantile(lambda: client.execute_command(*words), _READS)  # noqa: B023
        for author in ("a1", f"a{AUTHORS - 1}"):
            client.execute_command("FEED.PUBLISH", author, "*", "text", TEXT)
        sync = ("FEED.SYNC", "me", "phone", "AFTER", position)
        yield "FEED.SYNC, two new posts", quantile(lambda: client.execute_command(*sync), _READS)


def notes(server: Server) -> Iterator[tuple[str, dict[str, float]]]:
    """Of an author whose posts have replies and reactions of many; nothing of it was seen."""
    with server.connect() as client:
        for number in range(1, _NOTED + 1):
            client.execute_command("FEED.PUBLISH", "noted", "*", "text", TEXT)
            fans = [user(10 * number + each) for each in range(10)]
            pipelined(client, (("FEED.REACT", "noted", number, fan, "like") for fan in fans))
            name = f"noted/{number}"
            pipelined(client, (("FEED.PUBLISH", fan, "REPLY", name, "*", "t", "x") for fan in fans))
        for words in (("FEED.NOTES", "noted", "COUNT", 20), ("FEED.UNSEEN", "noted")):
            name = f"{words[0]} of {2 * _NOTED} notes, each of ten users"
            yield name, quantile(lambda: client.execute_command(*words), _READS)  # noqa: B023


def follows(server: Server) -> Iterator[tuple[str, dict[str, float]]]:
    """Of the author with the most followers, who are there from `single_posts`."""
    author = f"author{FOLLOWERS[-1]}"
    for command in ("FEED.FOLLOW", "FEED.UNFOLLOW"):
        work = Work(
            name=command,
            command=(command, "new__rand_int__", author),
            requests=50_000,
            pipeline=16,
            random_up_to=1_000_000,
        )
        run = drive(work, server, work.requests)
        yield (
            f"{command}, an author with {FOLLOWERS[-1]:,} followers",
            {"per_second": round(run.per_second), "cpu_us": round(run.cpu_us, 1)},
        )


def main() -> None:
    works = [*(publish(followers, 30_000) for followers in FOLLOWERS), read_homes, react]
    alone = [single_posts, follows, single_homes, notes]
    beside.run("feeds", __doc__, "Feeds beside Redis", works, alone)


if __name__ == "__main__":
    main()
