"""The promise: a transaction is one commit, all or nothing, and reads inside see what it staged."""

from __future__ import annotations

import pytest
from redis.exceptions import ExecAbortError, ResponseError

from tests.server.daemon import Client


def test_a_transaction_answers_each_command_in_order(client: Client) -> None:
    pipe = client.pipeline(transaction=True)
    pipe.xadd("a", {"f": "1"}).xadd("a", {"f": "2"}).xlen("a").xrange("a").xadd("b", {"f": "3"})
    pipe.delete("b").exists("b").ping()
    found = pipe.execute()
    assert found[:3] == [b"1-0", b"2-0", 2]
    assert [entry[0] for entry in found[3]] == [b"1-0", b"2-0"]
    assert found[4:7] == [b"1-0", 1, 0]
    assert client.keys() == [b"a"]


def test_all_of_it_is_one_commit(client: Client) -> None:
    before = client.info("timeline")["lsn"]
    pipe = client.pipeline(transaction=True)
    pipe.xadd("a", {"f": "1"}).xadd("b", {"f": "2"}).xadd("c", {"f": "3"}).xtrim("a", maxlen=0)
    pipe.execute()
    assert client.info("timeline")["lsn"] == before + 1


def test_one_refusal_undoes_all(client: Client) -> None:
    pipe = client.pipeline(transaction=True)
    pipe.xadd("a", {"f": "1"}).xadd("a", {"f": "2"}, id="1-0").xadd("b", {"f": "3"})
    with pytest.raises((ExecAbortError, ResponseError), match="nothing was done: command 2"):
        pipe.execute()
    assert client.dbsize() == 0
    assert client.xadd("a", {"f": "v"}) == b"1-0"


def test_what_cannot_be_queued_makes_exec_refuse(client: Client) -> None:
    with client.pipeline(transaction=True) as pipe:
        pipe.xadd("a", {"f": "1"}).execute_command("NOSUCH", "x")
        with pytest.raises(ResponseError):
            pipe.execute()
    assert client.dbsize() == 0


def test_a_transaction_may_be_dropped_empty_or_read_only(client: Client) -> None:
    connection = client.connection_pool.get_connection()

    def ask(*words: str) -> object:
        connection.send_command(*words)
        return connection.read_response()

    assert ask("MULTI") == b"OK"
    assert ask("XADD", "a", "*", "f", "v") == b"QUEUED"
    assert ask("DISCARD") == b"OK"
    assert ask("MULTI") == b"OK"
    assert ask("EXEC") == []
    assert ask("MULTI") == b"OK"
    assert ask("XLEN", "a") == b"QUEUED"
    assert ask("XREAD", "BLOCK", "0", "STREAMS", "a", "$") == b"QUEUED"
    assert ask("EXEC") == [0, None]
    for words in (("EXEC",), ("DISCARD",)):
        with pytest.raises(ResponseError, match="without MULTI"):
            ask(*words)
    assert ask("MULTI") == b"OK"
    with pytest.raises(ResponseError, match="can not be nested"):
        ask("MULTI")
    assert ask("EXEC") == []
    connection.disconnect()
