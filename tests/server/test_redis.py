"""The promise: what the contract does not say is as in Redis 7. The same bytes go to a real
redis-server and to the daemon, and the same bytes come back.

Not compared, since it differs: how many entries a trim by `~` leaves, beyond its bounds. Redis
removes whole nodes, 100 entries by default; what the daemon does, test_trimming.py says.
"""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.server.daemon import Daemon


def everything(link: socket.socket, sent: bytes) -> bytes:
    link.settimeout(20)
    link.sendall(sent + b"PING the-end\r\n")
    received = b""
    while b"$7\r\nthe-end\r\n" not in received:
        chunk = link.recv(1 << 16)
        if not chunk:
            break
        received += chunk
    link.close()
    return received


def both(daemon: Daemon, peer: Path, sent: bytes) -> tuple[bytes, bytes]:
    ours = everything(socket.create_connection((daemon.host, daemon.port), 20), sent)
    link = socket.socket(socket.AF_UNIX)
    link.connect(str(peer))
    return ours, everything(link, sent)


SETUP = "FLUSHALL\nXADD t 1-0 a 1\nXADD t 2-0 b 2\nXADD t 3-0 c 3\nXADD u 7-0 d 4\n"

# Commands of one connection, a slash between two.
SCRIPTS = {
    "ids": """
        XADD t 0-0 f v / XADD t 3-0 f v / XADD t 2 f v / XADD t x f v / XADD t 4- f v / XADD t -1
        f v / XADD t 99999999999999999999 f v / XADD new NOMKSTREAM * f v / EXISTS new
    """,
    "ranges": """
        XRANGE t - + / XRANGE t 2 + / XRANGE t (1-0 (3-0 / XRANGE t 2-0 2-0 / XRANGE t + - /
        XRANGE t - + COUNT 2 / XRANGE t - + COUNT 0 / XRANGE t - + COUNT -1 / XRANGE none - + /
        XREVRANGE t + - / XREVRANGE t + - COUNT 1 / XREVRANGE t (3-0 (1-0 / XRANGE t - + LIMIT 1 /
        XRANGE t a b / XRANGE t - + COUNT / XRANGE t (- + / XRANGE t - + COUNT a
    """,
    "counts": """
        XRANGE t - + COUNT 1 COUNT 2 / XREVRANGE t + - COUNT 0 COUNT 1 / XRANGE none - + COUNT 0 /
        XRANGE none - + COUNT x / XRANGE t (0 (0 / XRANGE t (0-0 (0-0 / XRANGE t
        (18446744073709551615-18446744073709551615 + / XRANGE t 2 (3 / XRANGE t ( + / XREAD COUNT
        -1 STREAMS t 0
    """,
    "options": """
        XADD none NOMKSTREAM 0-0 f v / XADD t LIMIT 0 * / XADD t LIMIT 5 9-0 f v / XADD t MAXLEN =
        5 NOMKSTREAM LIMIT 0 9-0 f v / XADD t NOMKSTREAM MAXLEN 2 9-0 f v / XADD t LIMIT 1 MAXLEN ~
        x / XADD t MAXLEN 5 MAXLEN 6 10-0 f v / XADD t x f v w / XADD t MAXLEN = f v w / XTRIM t
        LIMIT 0 / XTRIM t LIMIT 1 / XTRIM t MINID x / XTRIM t MAXLEN ~ / XTRIM t MAXLEN 1 MINID 2 /
        XTRIM t NOMKSTREAM 1 / XADD t 20-* f v / XADD t 0-* f v / XADD t -* f v / XADD t x-* f v
    """,
    "readers of groups": """
        XREAD GROUP g c STREAMS t 0 / XREAD NOACK STREAMS t 0 / XREAD STREAMS t > / XREAD STREAMS
        none > / XREAD STREAMS t u > 0 / XREAD GROUP STREAMS t 0 / XREAD COUNT 1 NOACK STREAMS t 0
        / XREAD STREAMS t u 0
    """,
    "reading": """
        XREAD STREAMS t u 0 0 / XREAD COUNT 1 STREAMS t u 1 7 / XREAD STREAMS t $ / XREAD BLOCK 1
        STREAMS t $ / XREAD STREAMS t none 2-0 0 / XREAD COUNT a STREAMS t 0 / XREAD STREAMS t /
        XREAD BLOCK -1 STREAMS t 0 / XREAD BLOCK x STREAMS t 0 / XREAD COUNT 0 STREAMS t 0 / XREAD
        COUNT 1
    """,
    "trimming": """
        XTRIM t MAXLEN 2 / XTRIM t MINID 3 / XTRIM t MAXLEN = 0 / XLEN t / TYPE t / XTRIM none
        MAXLEN 1 / XTRIM t MAXLEN -1 / XTRIM t MAXLEN a / XTRIM t MAXLEN = 1 LIMIT 5 / XTRIM t /
        XTRIM t MAXLEN / XADD t MAXLEN 1 9-0 f v / XADD t MAXLEN = 1 MINID 5 10-0 f v / XRANGE t -
        + / XTRIM t MAXLEN 5 x
    """,
    "trimming about": """
        XTRIM t MAXLEN ~ 2 / XTRIM t MINID ~ 2 / XLEN t / XADD t MAXLEN ~ 1 9-0 f v / XADD t MINID
        ~ 3 LIMIT 5 10-0 f v / XRANGE t - + / XTRIM t MAXLEN ~ 1 LIMIT -1 / XTRIM t MAXLEN ~ 1
        LIMIT a / XTRIM t MAXLEN ~ 1 LIMIT / XTRIM t MAXLEN ~ a / XTRIM t MINID ~ 99 LIMIT 0 / XLEN
        t / XADD t 11-0 f v / XTRIM t MAXLEN ~ 0 LIMIT 100 / XLEN t
    """,
    "deleting": """
        XDEL t 1-0 2-0 9-0 / XDEL t x / XDEL none 1-0 / XLEN t / DEL t none / EXISTS t u u / TYPE
        t / XLEN t / DEL / DBSIZE / UNLINK u / DBSIZE
    """,
    "deleting from nothing": """
        XDEL none x / XDEL t 1-0 x / XLEN t / FLUSHALL x / FLUSHALL SYNC x / FLUSHDB ASYNC / XLEN t
    """,
    "xsetid": """
        XSETID t 9-0 ENTRIESADDED 2 / XSETID t 9-0 MAXDELETEDID 10-0 / XSETID t 9-0 ENTRIESADDED -1
        / XSETID t 9-0 X / XSETID t 9-0 ENTRIESADDED / XSETID t 9-0 ENTRIESADDED 3 MAXDELETEDID 9-0
        / XSETID t 9-0 / XSETID t 1-0 / XSETID none 1-0 / XSETID t x / XADD t 9-0 f v / XADD t 10-0
        f v
    """,
    "transactions": """
        MULTI / XLEN t / XADD t 5-0 f v / EXEC / EXEC / DISCARD / MULTI / MULTI / NOSUCH / EXEC /
        MULTI / XLEN / EXEC / MULTI / DISCARD / MULTI / EXEC / MULTI / PING / ECHO x / TYPE t /
        EXEC
    """,
    "connection": """
        PING / PING x / PING x y / ECHO x / ECHO / SELECT 0 / SELECT x / CLIENT SETNAME me /
        CLIENT GETNAME / CLIENT SETNAME 'a b' / RESET / CLIENT GETNAME / AUTH default x / AUTH
        nobody x / AUTH x / HELLO 9 / HELLO x / HELLO 3 AUTH nobody x / HELLO 2 WHAT / CLIENT KILL
        ID 0 / CLIENT NO-EVICT on / CLIENT / CONFIG / QUIT with words
    """,
    "RESP3": """
        HELLO 3 SETNAME a / XREAD STREAMS t u 0 0 / XREAD STREAMS t $ / XRANGE none - + / XADD
        none NOMKSTREAM * f v / CONFIG GET maxmemory nosuch / UNSUBSCRIBE c / UNSUBSCRIBE / MULTI
        / XLEN t / EXEC
    """,
    "watching": """
        WATCH / WATCH t / MULTI / WATCH u / UNWATCH / XLEN t / EXEC / WATCH t u none / XADD t 9-0 f
        v / MULTI / XADD u 9-0 f v / EXEC / XLEN u / WATCH t / XTRIM t MAXLEN 2 / UNWATCH / MULTI /
        XLEN t / EXEC / WATCH t / XDEL t 9-0 / MULTI / EXEC / MULTI / EXEC / WATCH none / XADD none
        1-0 f v / DEL none / MULTI / XLEN t / EXEC / WATCH t / XTRIM t MAXLEN 5 / XDEL t 77-0 /
        XLEN t / MULTI / XLEN t / EXEC / WATCH t / MULTI / DISCARD / XADD t 19-0 f v / MULTI / XLEN
        t / EXEC / WATCH u / DEL u / MULTI / XLEN u / EXEC / WATCH t / MULTI / NOSUCH / XLEN t /
        EXEC / WATCH t / FLUSHALL / MULTI / PING / EXEC
    """,
    "watching in RESP3": """
        HELLO 3 / WATCH t / XADD t 9-0 f v / MULTI / XLEN t / EXEC / WATCH t / RESET / XADD t 10-0
        f v / MULTI / XLEN t / EXEC
    """,
    "channels": """
        PUBLISH a x / PUBLISH / PUBLISH a / PUBLISH a b c / PUBSUB CHANNELS / PUBSUB NUMSUB a b /
        PUBSUB NUMPAT / PUBSUB NUMSUB / PUBSUB NOSUCH / PUBSUB / SUBSCRIBE a b a / PSUBSCRIBE a.*
        b? / PING / UNSUBSCRIBE a / PUNSUBSCRIBE none / XLEN t / PUBLISH a x / PUNSUBSCRIBE /
        PUNSUBSCRIBE / UNSUBSCRIBE b / UNSUBSCRIBE / XLEN t / MULTI / PUBLISH a x / EXEC
    """,
    "channels in RESP3": """
        HELLO 3 / SUBSCRIBE a / PSUBSCRIBE a* *b / PUBSUB CHANNELS / PUBSUB CHANNELS b* / PUBSUB
        NUMSUB a b / PUBSUB NUMPAT / PUBLISH other x / PUBLISH none y / XLEN t / RESET / PUBSUB
        NUMPAT
    """,
    "pubsub": """
        SUBSCRIBE sync:u:a sync:u:b sync:u:a / PING / PING x / UNSUBSCRIBE sync:u:a / UNSUBSCRIBE
        none / UNSUBSCRIBE / UNSUBSCRIBE
    """,
    "scanning": """
        SCAN 0 MATCH none* COUNT 100 / SCAN 0 COUNT 0 / SCAN 0 COUNT a / SCAN x / SCAN 0 TYPE
        string COUNT 100 / KEYS none* / KEYS [t] / KEYS ?\\n / SCAN 0 MATCH
    """,
    "arity": """
        XADD / XADD t / XADD t * / XADD t * f / XADD t * f v w / XLEN / XRANGE t - / XREAD / XDEL
        t / XTRIM t MAXLEN / EXISTS / TYPE / SCAN / KEYS / MULTI x / MULTI / EXEC x / EXEC /
        SELECT / SUBSCRIBE / XINFO STREAM / COMMAND COUNT x / CLIENT ID x
    """,
    "keys of commands": """
        COMMAND GETKEYSANDFLAGS XADD t * f v / COMMAND GETKEYSANDFLAGS XDEL t 1 / COMMAND
        GETKEYSANDFLAGS XTRIM t MAXLEN 1 / COMMAND GETKEYSANDFLAGS XSETID t 1 / COMMAND
        GETKEYSANDFLAGS XLEN t / COMMAND GETKEYSANDFLAGS XRANGE t - + / COMMAND GETKEYSANDFLAGS
        XREVRANGE t + - / COMMAND GETKEYSANDFLAGS XREAD COUNT 1 STREAMS t u 0 0 / COMMAND
        GETKEYSANDFLAGS XINFO STREAM t / COMMAND GETKEYSANDFLAGS DEL t u / COMMAND GETKEYSANDFLAGS
        UNLINK t / COMMAND GETKEYSANDFLAGS EXISTS t / COMMAND GETKEYSANDFLAGS TYPE t / COMMAND
        GETKEYS XREAD BLOCK 0 STREAMS a b c 0 0 $ / COMMAND GETKEYS / COMMAND GETKEYS NOSUCH a /
        COMMAND GETKEYS DBSIZE x / COMMAND GETKEYS XADD t / COMMAND GETKEYS XADD
    """,
    "groups": """
        XINFO GROUPS t / XINFO GROUPS none / XINFO CONSUMERS t g / XINFO CONSUMERS none g / XINFO
        NOSUCH t / CLIENT NOSUCH
    """,
    "probes": """
        TTL t / TTL none / PTTL t / PTTL none / TTL / OBJECT ENCODING t / OBJECT ENCODING none /
        OBJECT REFCOUNT t / OBJECT FREQ none / OBJECT IDLETIME none / OBJECT / OBJECT NOSUCH t /
        OBJECT FREQ / MODULE LIST / LATENCY LATEST / LATENCY HISTORY x / LATENCY RESET / ACL WHOAMI
        / WAIT 0 0 / WAIT x 0 / WAIT 0 -1 / WAIT 0 x / CLIENT UNBLOCK 999999 / CLIENT UNBLOCK 1 FOO
        / CLIENT UNBLOCK x / CLIENT GETREDIR / CLIENT TRACKINGINFO / CLIENT TRACKING FOO / CLIENT
        TRACKING OFF / CLIENT CACHING YES / CLIENT CACHING NO / CLIENT CACHING x / MEMORY
        USAGE none / MEMORY USAGE t SAMPLES / MEMORY USAGE t SAMPLES -1 / MEMORY USAGE t SAMPLES x /
        MEMORY / CONFIG RESETSTAT / FLUSHALL / RANDOMKEY / XADD only 1-0 f v / RANDOMKEY / TIME x /
        ROLE x
    """,
    "probes in RESP3": """
        HELLO 3 / OBJECT ENCODING none / CLIENT TRACKINGINFO / CLIENT TRACKING ON OPTIN / CLIENT
        GETREDIR / CLIENT TRACKINGINFO / CLIENT CACHING NO / CLIENT CACHING YES / CLIENT
        TRACKINGINFO / CLIENT TRACKING OFF / CLIENT TRACKINGINFO / CLIENT TRACKING ON OPTOUT /
        CLIENT CACHING YES / CLIENT CACHING NO / CLIENT TRACKINGINFO / CLIENT TRACKING OFF / MEMORY
        USAGE none / MODULE LIST / FLUSHALL / RANDOMKEY
    """,
    "replies that are not wanted": """
        CLIENT REPLY / CLIENT REPLY x / CLIENT REPLY SKIP / PING / PING a / CLIENT REPLY SKIP / XADD
        t 5-0 f v / XLEN t / CLIENT REPLY OFF / XADD t 6-0 f v / PING / NOSUCH / MULTI / XADD t 7-0
        f v / EXEC / XREAD BLOCK 1 STREAMS t $ / CLIENT REPLY SKIP / PING / CLIENT REPLY ON / XLEN t
        / CLIENT REPLY SKIP / XREAD BLOCK 1 STREAMS t $ / XLEN t / CLIENT REPLY OFF / RESET / PING
    """,
    "slowlog": """
        SLOWLOG RESET / SLOWLOG GET x / CONFIG SET nosuch 1 / CONFIG SET maxclients x / CONFIG GET
        nosuch
    """,
}

# Sentences that we say in other words.
OURS = (b"unknown", b"parsed into an integer", b"must be between")


def normal(answer: bytes) -> list[bytes]:
    """Lines, without what is ours to say in other words."""
    # The answer to HELLO says who answers; what comes behind it is compared.
    _, greeted, rest = answer.partition(b"modules\r\n*0\r\n")
    lines = (rest if greeted else answer).split(b"\r\n")
    found = []
    for line in lines:
        word, _, sentence = line.partition(b" ")
        ours = word[:1] == b"-" and any(each in sentence for each in OURS)
        found.append(word if ours else line.rstrip())
    return found


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_same_bytes_come_back(daemon: Daemon, peer: Path, name: str) -> None:
    with daemon.client() as client:  # whose devices the channels are
        client.execute_command("USER.META", "u", "*", "name", "U")
    commands = " ".join(SCRIPTS[name].split()).split(" / ")
    sent = (SETUP + "\n".join(commands) + "\n").replace("\n", "\r\n").encode()
    ours, theirs = both(daemon, peer, sent)
    assert normal(ours) == normal(theirs)


INFORMATION = """
    XINFO STREAM t / XINFO STREAM t FULL / XDEL t 1-0 / XINFO STREAM t / XINFO STREAM t FULL COUNT 1
    / XINFO STREAM t FULL COUNT 0 / XINFO STREAM t FULL COUNT -1 / XADD t 9-0 f v / XTRIM t MAXLEN 2
    / XINFO STREAM t / XSETID t 20-0 ENTRIESADDED 30 MAXDELETEDID 15-0 / XINFO STREAM t / XADD t
    21-0 f v / XINFO STREAM t / XDEL t 21-0 / XINFO STREAM t / XTRIM t MAXLEN 0 / XINFO STREAM t /
    XINFO STREAM none FULL x / XINFO STREAM t FULL x / XINFO stream t x / MULTI / XADD m 4-0 f v /
    XADD m 5-0 f v / XDEL m 4-0 / XINFO STREAM m / XDEL m 5-0 / XINFO STREAM m FULL / EXEC
"""


@pytest.mark.parametrize("protocol", ["2", "3"])
def test_the_same_is_known_of_a_stream(daemon: Daemon, peer: Path, protocol: str) -> None:
    """All but the inside of a radix tree."""
    commands = " ".join(INFORMATION.split()).split(" / ")
    sent = f"HELLO {protocol}\n" + SETUP + "\n".join(commands) + "\n"
    ours, theirs = both(daemon, peer, sent.replace("\n", "\r\n").encode())
    inside = re.compile(rb"(radix-tree-(?:keys|nodes)\r\n:)[0-9]+")
    assert normal(inside.sub(rb"\1", ours)) == normal(inside.sub(rb"\1", theirs))
