"""The promise: over the wire things are shown as they are to an embedder, and pages end where the
next begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.server.daemon import Client, Daemon
from timeline.formats.rows import FORMAT


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    daemon = Daemon(Path(tmp_path_factory.mktemp("inspection")) / "data")
    with daemon.client(protocol=3, decode_responses=True) as client:
        yield client
    assert daemon.stop() == 0


def test_a_range_comes_with_times_in_pages(client: Client) -> None:
    pipe = client.pipeline(transaction=False)
    for number in range(1_200):
        pipe.execute_command("XADD", "many", "*", "n", number)
    pipe.execute()
    found = []
    after = 0
    while page := client.execute_command("TIMELINE.RANGE", "many", "FROM", after + 1, "COUNT", 500):
        found += [(identity, fields) for identity, _, fields in page]
        times = [time for _, time, _ in page]
        assert times == sorted(times)
        after = int(page[-1][0].partition("-")[0])
    assert found == [(f"{number + 1}-0", ["n", str(number)]) for number in range(1_200)]
    (newest,) = client.execute_command("TIMELINE.RANGE", "many", "REV", "COUNT", 1)
    assert newest[0] == "1200-0"
    since = ("SINCE", newest[1] + 1)
    assert client.execute_command("TIMELINE.RANGE", "many", *since) == []


def test_a_page_of_large_entries_ends_sooner(client: Client) -> None:
    for _ in range(7):
        client.execute_command("XADD", "large", "*", "text", "x" * 1_000_000)
    page = client.execute_command("TIMELINE.RANGE", "large")
    assert [identity for identity, _, _ in page] == [f"{number}-0" for number in range(1, 6)]
    rest = client.execute_command("TIMELINE.RANGE", "large", "FROM", 6)
    assert [identity for identity, _, _ in rest] == ["6-0", "7-0"]


def test_the_store_is_shown(client: Client) -> None:
    client.execute_command("LOG.CONSUMER", "mine", 0)
    found = client.execute_command("TIMELINE.INSPECT")
    assert found["format"] == FORMAT
    assert {each["name"] for each in found["log"]["consumers"]} == {"index", "mine"}
    assert found["families"][0]["name"] == "default"


@pytest.mark.parametrize(
    "command",
    [
        ("TIMELINE.RANGE", "many", "FROM", "x"),
        ("TIMELINE.RANGE", "many", "SINCE"),
        ("TIMELINE.RANGE", "many", "SIDEWAYS"),
        ("TIMELINE.RANGE", "nothing"),
        ("TIMELINE.INSPECT", "nothing"),
        ("TIMELINE.INSPECT", "many", "x"),
        ("TIMELINE.INSPECT", "many", "-1"),
        ("CONV.INSPECT", "nothing"),
        ("USER.INSPECT", "nobody"),
        ("USER.INSPECT", "nobody", "COUNT", "0"),
        ("USER.INSPECT", "nobody", "SIDEWAYS", "1"),
    ],
)
def test_what_cannot_be_is_refused(client: Client, command: tuple[str, ...]) -> None:
    with pytest.raises(redis.ResponseError):
        client.execute_command(*command)


def test_none_is_part_of_a_commit(client: Client) -> None:
    for command in (("TIMELINE.RANGE", "many"), ("TIMELINE.INSPECT",)):
        pipe = client.pipeline()
        pipe.execute_command("XADD", "other", "*", "n", 1)
        pipe.execute_command(*command)
        with pytest.raises(redis.ResponseError):
            pipe.execute()
