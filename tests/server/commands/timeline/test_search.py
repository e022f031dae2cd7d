"""The promise: what was sent is found, by those who may see it, over the wire as it is embedded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.exceptions import ResponseError

from tests.server.commands.timeline.test_timelines import as_map
from tests.server.daemon import Client, Start

WAIT = ("WAIT", "4000")


def results(client: Client, *words: str) -> dict[bytes, Any]:
    return as_map(client.execute_command("USER.SEARCH", *words))


def talk(client: Client, name: str, *members: str) -> Callable[..., int]:
    client.execute_command("CONV.CREATE", name, "-", "MEMBERS", len(members), *members)

    def send(sender: str, text: str, *options: str) -> int:
        reply = client.execute_command("CONV.SEND", name, sender, *options, "*", "text", text)
        return int(reply[0])

    return send


def test_messages_are_found_newest_first_a_page_at_a_time(client: Client, own: str) -> None:
    send = talk(client, own, f"ann{own}", f"bob{own}")
    for number in range(5):
        send(f"ann{own}", f"hello number {number}")
    send(f"bob{own}", "something else")
    found: list[bytes] = []
    token = ""
    while True:
        page = results(client, f"bob{own}", "hel*", "COUNT", "2", "AFTER", token, *WAIT)
        assert (page[b"total"], page[b"exact"]) == (5, 1)
        found += [hit[1] for hit in page[b"hits"]]
        token = page[b"cursor"].decode()
        if not token:
            break
    assert found == [b"5-0", b"4-0", b"3-0", b"2-0", b"1-0"]
    (hit,) = results(client, f"bob{own}", '"number 3"')[b"hits"]
    conversation, _, fields, marked = hit
    assert conversation == own.encode()
    assert dict(zip(fields[::2], fields[1::2], strict=True))[b"text"] == b"hello number 3"
    assert marked == b"hello <b>number 3</b>"


def test_chinese_is_found_by_substring(client: Client, own: str) -> None:
    send = talk(client, own, f"ann{own}")
    send(f"ann{own}", "我已添加为好友，请添加我")
    (hit,) = results(client, f"ann{own}", "添加", *WAIT)[b"hits"]
    assert hit[3].decode() == "我已<b>添加</b>为好友，请<b>添加</b>我"
    assert results(client, f"ann{own}", "加添")[b"total"] == 0


def test_filters(client: Client, own: str) -> None:
    ann, bob = f"ann{own}", f"bob{own}"
    first, second = talk(client, f"{own}1", ann, bob), talk(client, f"{own}2", ann, bob)
    first(ann, "word")
    second(ann, "word")
    time = int(client.execute_command("CONV.SEND", f"{own}2", bob, "*", "text", "word")[1])

    def total(*words: str) -> int:
        return int(results(client, ann, "word", *words, *WAIT)[b"total"])

    assert total() == 3
    assert total("CONV", f"{own}2") == 2
    assert total("SENDER", bob) == 1
    assert total("CONV", f"{own}1", "SENDER", bob) == 0
    assert total("SINCE", str(time + 1)) == 0
    assert total("UNTIL", str(time)) == 3


def test_only_what_one_may_see(client: Client, own: str) -> None:
    ann, bob = f"ann{own}", f"bob{own}"
    send = talk(client, own, ann)
    send(ann, "word before")
    client.execute_command("CONV.JOIN", own, "-", bob)
    send(ann, "word during")
    client.execute_command("CONV.LEAVE", own, bob, bob)
    send(ann, "word after")
    texts = [hit[2][-1] for hit in results(client, bob, "word", *WAIT)[b"hits"]]
    assert texts == [b"word during"]
    client.execute_command("CONV.RECALL", own, "2", ann)
    assert results(client, bob, "word")[b"hits"] == []


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["{ann}", ""], "ERR there is no word"),
        (["{ann}", '"'], "ERR there is no word"),
        (["{ann}", "AND"], "ERR there is no word"),
        (["{ann}", "a*"], "ERR the beginning of a word"),
        (["{ann}", "x" * 1_000_000], "TOOLARGE"),
        (["{ann}", b"\xff"], "ERR a query is UTF-8"),
        (["nobody{ann}", "word"], "NOTFOUND"),
        (["{ann}", "word", "CONV", "none"], "NOPERM there is no such conversation"),
        (["{ann}", "word", "SENDER", "@x"], "ERR"),
        (["{ann}", "word", "AFTER", "1-2-3"], "ERR the token"),
        (["{ann}", "word", "COUNT", "0"], "ERR"),
        (["{ann}", "word", "WAIT", "-1"], "ERR timeout is negative"),
        (["{ann}", "word", "SINCE", "-1"], "ERR a time is"),
        (["{ann}", "word", "UNTIL", "soon"], "ERR a time is"),
        (["{ann}", "word", "WHAT"], "ERR"),
        (["{ann}", "word", "CONV"], "ERR"),
    ],
)
def test_bad_input_is_refused_and_the_next_search_works(
    client: Client, own: str, words: list[str | bytes], problem: str
) -> None:
    ann = f"ann{own}"
    talk(client, own, ann)(ann, "word")
    assert results(client, ann, "word", *WAIT)[b"total"] == 1  # there is an index from now on
    given = [word.replace("{ann}", ann) if isinstance(word, str) else word for word in words]
    with pytest.raises(redis.ResponseError) as refused:
        client.execute_command("USER.SEARCH", *given)
    code, _, text = problem.partition(" ")
    expected = text if code in ("ERR", "NOPERM") else problem  # redis-py leaves these out
    assert str(refused.value).startswith(expected)
    assert not str(refused.value).startswith("INDEXLAG")
    assert results(client, ann, "word", *WAIT)[b"total"] == 1


def refusal(client: Client, *words: str) -> str:
    try:
        client.execute_command(*words)
    except ResponseError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("word", ["x" * 982, "x" * 4_000, "ж" * 491])
@pytest.mark.parametrize("form", ["{}*", "hello-{}*", '"hello {}"*', '"{} hello"*', "{}"])
def test_no_query_takes_the_index_from_the_others(
    client: Client, own: str, word: str, form: str
) -> None:
    ann, query = f"ann{own}", form.format(word)
    talk(client, own, ann)(ann, "a common word")
    assert results(client, ann, "common", *WAIT)[b"total"] == 1
    builds = client.info("timeline")["index_builds"]
    for words in (
        ["USER.SEARCH", ann, query],
        ["TIMELINE.SEARCH", query],
        ["TIMELINE.FIND", query],
    ):
        assert refusal(client, *words)[:8] in ("", "TOOLARGE")
    assert results(client, ann, "common")[b"total"] == 1
    info = client.info("timeline")
    assert (info["index_builds"], info["index_last_failure"]) == (builds, "")


@pytest.mark.parametrize("command", ["USER.SEARCH", "FEED.SEARCH"])
def test_searching_is_no_part_of_a_commit(client: Client, own: str, command: str) -> None:
    talk(client, own, f"ann{own}")
    pipe = client.pipeline(transaction=True)
    pipe.execute_command(command, f"ann{own}", "word")
    with pytest.raises(ResponseError, match="outside MULTI"):
        pipe.execute()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["WHAT"], "there is no option WHAT here"),
        (["HOME", "1"], "there is no option 1 here"),
        (["CONV", "team"], "there is no option CONV here"),
        (["SENDER", "ann"], "there is no option SENDER here"),
        (["TAG"], "a value is missing after TAG"),
        (["*", "text", "x"], "syntax error"),
        (["WAIT", "-1"], "timeout is negative"),
        (["SINCE", "soon"], "a time is"),
        (["COUNT", "0"], "COUNT"),
    ],
)
def test_options_of_a_search_of_posts_are_checked(
    client: Client, own: str, words: list[str], problem: str
) -> None:
    client.execute_command("FEED.PUBLISH", f"ann{own}", "*", "text", own)
    search = ("FEED.SEARCH", f"ann{own}", own)
    with pytest.raises(ResponseError, match=problem):
        client.execute_command(*search, *words)
    with pytest.raises(ResponseError, match="UTF-8"):
        client.execute_command("FEED.SEARCH", f"ann{own}", b"\xff")
    found = as_map(client.execute_command(*search, "home", "count", "5", *WAIT))
    assert [hit[1] for hit in found[b"hits"]] == [b"1-0"]


def test_others_go_on_while_somebody_waits_for_the_index(start: Start) -> None:
    daemon = start("--search-commit-ms", "2000")
    with daemon.client() as one, daemon.client() as other:
        send = talk(one, "team", "ann")
        send("ann", "word")
        answers: list[dict[bytes, Any]] = []
        waiting = threading.Thread(
            target=lambda: answers.append(results(one, "ann", "word", *WAIT)), daemon=True
        )
        waiting.start()
        other.ping()
        waiting.join(10)
        assert answers[0][b"total"] == 1


def test_timelines_are_found_by_their_metadata_and_their_entries(start: Start) -> None:
    daemon = start("--search-prefixes", "log:, audit:")
    with daemon.client() as client:
        client.xadd("log:a", {"text": "disk failure"})
        client.xadd("audit:a", {"text": "disk failure"})
        client.xadd("other", {"text": "disk failure"})
        client.execute_command("TIMELINE.META", "log:a", "*", "city", "Oslo", "owner", "Team Blue")
        page = as_map(client.execute_command("TIMELINE.SEARCH", "failure", *WAIT))
        assert [hit[0] for hit in page[b"hits"]] == [b"audit:a", b"log:a"]
        page = as_map(client.execute_command("TIMELINE.SEARCH", "failure", "KEY", "log:a"))
        assert page[b"total"] == 1
        for query in ("city:oslo", "blue", 'owner:"team blue"'):
            (found,) = client.execute_command("TIMELINE.FIND", query, *WAIT)
            assert as_map(found)[b"name"] == b"log:a"
        assert client.execute_command("TIMELINE.FIND", "owner:blue") == []
        assert client.config_get("search-prefixes") == {"search-prefixes": "log:,audit:"}


def test_the_index_is_built_anew_while_it_serves(start: Start) -> None:
    daemon = start()
    with daemon.client() as client:
        talk(client, "team", "ann")("ann", "word")
        assert results(client, "ann", "word", *WAIT)[b"total"] == 1
        builds = client.info("timeline")["index_builds"]
        assert client.execute_command("TIMELINE.REINDEX") in (b"OK", True)
        while client.info("timeline")["index_builds"] == builds:
            assert results(client, "ann", "word")[b"total"] == 1
        assert client.info("timeline")["index_documents"] == 1


def test_without_an_index_searching_says_so(start: Start) -> None:
    daemon = start("--search", "false")
    with daemon.client() as client:
        talk(client, "team", "ann")
        with pytest.raises(ResponseError, match="search is off"):
            results(client, "ann", "word")
        assert "index_lsn" not in client.info("timeline")
