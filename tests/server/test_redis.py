"""The promise: what the contract does not say is as in Redis 7. The same bytes go to a real
redis-server and to the daemon, and the same bytes come back.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.daemon import Daemon

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None,
    reason="redis-server is not installed (Debian: redis-server)",
)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a redis-server."""
    path = tmp_path_factory.mktemp("redis") / "s"
    server = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir", path.parent],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    for line in server.stdout:
        if "ready to accept connections" in line.lower():
            break
    yield path
    server.terminate()
    server.wait(20)
    server.stdout.close()


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

SCRIPTS = {
    "ids": "XADD t 0-0 f v\nXADD t 3-0 f v\nXADD t 2 f v\nXADD t x f v\nXADD t 4- f v\nXADD t -1 f v\n"
    "XADD t 99999999999999999999 f v\nXADD new NOMKSTREAM * f v\nEXISTS new",
    "ranges": "XRANGE t - +\nXRANGE t 2 +\nXRANGE t (1-0 (3-0\nXRANGE t 2-0 2-0\nXRANGE t + -\n"
    "XRANGE t - + COUNT 2\nXRANGE t - + COUNT 0\nXRANGE t - + COUNT -1\nXRANGE none - +\n"
    "XREVRANGE t + -\nXREVRANGE t + - COUNT 1\nXREVRANGE t (3-0 (1-0\nXRANGE t - +  LIMIT 1\nXRANGE t a b\n"
    "XRANGE t - + COUNT\nXRANGE t (- +\nXRANGE t - + COUNT a",
    "reading": "XREAD STREAMS t u 0 0\nXREAD COUNT 1 STREAMS t u 1 7\nXREAD STREAMS t $\n"
    "XREAD BLOCK 1 STREAMS t $\nXREAD STREAMS t none 2-0 0\nXREAD COUNT a STREAMS t 0\nXREAD STREAMS t\n"
    "XREAD BLOCK -1 STREAMS t 0\nXREAD BLOCK x STREAMS t 0\nXREAD COUNT 0 STREAMS t 0\nXREAD COUNT 1",
    "trimming": "XTRIM t MAXLEN 2\nXTRIM t MINID 3\nXTRIM t MAXLEN = 0\nXLEN t\nTYPE t\nXTRIM none MAXLEN 1\n"
    "XTRIM t MAXLEN -1\nXTRIM t MAXLEN a\nXTRIM t MAXLEN = 1 LIMIT 5\nXTRIM t\nXTRIM t MAXLEN\n"
    "XADD t MAXLEN 1 9-0 f v\nXADD t MAXLEN = 1 MINID 5 10-0 f v\nXRANGE t - +\nXTRIM t MAXLEN 5 x",
    "deleting": "XDEL t 1-0 2-0 9-0\nXDEL t x\nXDEL none 1-0\nXLEN t\nDEL t none\nEXISTS t u u\nTYPE t\nXLEN t\n"
    "DEL\nDBSIZE\nUNLINK u\nDBSIZE",
    "xsetid": "XSETID t 9-0\nXSETID t 1-0\nXSETID none 1-0\nXSETID t x\nXADD t 9-0 f v\nXADD t 10-0 f v",
    "transactions": "MULTI\nXLEN t\nXADD t 5-0 f v\nEXEC\nEXEC\nDISCARD\nMULTI\nMULTI\nNOSUCH\nEXEC\n"
    "MULTI\nXLEN\nEXEC\nMULTI\nDISCARD\nMULTI\nEXEC\nMULTI\nPING\nECHO x\nTYPE t\nEXEC",
    "connection": "PING\nPING x\nPING x y\nECHO x\nECHO\nSELECT 0\nSELECT x\nCLIENT SETNAME me\nCLIENT GETNAME\n"
    "CLIENT SETNAME 'a b'\nRESET\nCLIENT GETNAME\nAUTH default x\nAUTH nobody x\nAUTH x\nHELLO 9\n"
    "HELLO x\nHELLO 3 AUTH nobody x\nHELLO 2 WHAT\nCLIENT KILL ID 0\nCLIENT NO-EVICT on\nCLIENT\nCONFIG",
    "RESP3": "HELLO 3 SETNAME a\nXREAD STREAMS t u 0 0\nXREAD STREAMS t $\nXRANGE none - +\nXADD none NOMKSTREAM * f v\n"
    "CONFIG GET appendonly nosuch\nSUBSCRIBE c\nUNSUBSCRIBE c\nUNSUBSCRIBE\nMULTI\nXLEN t\nEXEC",
    "pubsub": "SUBSCRIBE a b a\nPING\nPING x\nUNSUBSCRIBE a\nUNSUBSCRIBE none\nUNSUBSCRIBE\nUNSUBSCRIBE",
    "scanning": "SCAN 0 MATCH none* COUNT 100\nSCAN 0 COUNT 0\nSCAN 0 COUNT a\nSCAN x\nSCAN 0 TYPE string COUNT 100\n"
    "KEYS none*\nKEYS [t]\nKEYS ?\\n\nSCAN 0 MATCH",
    "arity": "XADD\nXADD t\nXADD t *\nXADD t * f\nXADD t * f v w\nXLEN\nXRANGE t -\nXREAD\nXDEL t\nXTRIM t MAXLEN\n"
    "EXISTS\nTYPE\nSCAN\nKEYS\nMULTI x\nEXEC x\nSELECT\nSUBSCRIBE\nXINFO STREAM\nCOMMAND COUNT x\nCLIENT ID x",
    "slowlog": "SLOWLOG RESET\nSLOWLOG GET x\nCONFIG SET nosuch 1\nCONFIG SET maxclients x\nCONFIG GET nosuch",
}

# Where we differ, and why.
DIFFERENT = {
    b"appendonly": b"$10\r\nappendonly\r\n$3\r\nyes",
}


def normal(answer: bytes) -> list[bytes]:
    """Lines, without what is ours to say in other words."""
    lines = answer.split(b"\r\n")
    found = []
    for line in lines:
        if line.startswith(b"-"):
            line = (
                line.split(b" ", 1)[0] if b"unknown" in line or b"must be between" in line else line
            )
            line = line.rstrip()
        found.append(line)
    return found


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_same_bytes_come_back(daemon: Daemon, peer: Path, name: str) -> None:
    sent = (SETUP + SCRIPTS[name] + "\n").replace("\n", "\r\n").encode()
    ours, theirs = both(daemon, peer, sent)
    assert normal(ours) == normal(theirs)
