"""Commands about the connection itself (HELLO, AUTH, PING, ECHO, QUIT, RESET, SELECT).

Rule: there is no authentication yet. As in a Redis whose default user has no password, AUTH with
that user's name succeeds and anything else is refused. The daemon listens on loopback only.
"""

from __future__ import annotations

from ...clients.state import Replying, Tracking
from ...config.config import VERSION
from ...errors import CommandError
from ...registry.command import Arguments
from ...registry.lookup import shown
from ...service.session import Session
from ...wire import replies
from .. import arguments
from ..declaring import plain

# The Redis whose commands and replies these are, for clients that look.
REDIS_VERSION = "7.0.15"


@plain("PING", "[message]", "Answers PONG, or the message.", group="connection", flags="fast")
def ping(session: Session, args: Arguments) -> bytes:
    message = args[1] if len(args) > 1 else None
    if not session.plain and session.listening and session.resp == 2:
        return replies.bulks([b"pong", message or b""])
    return replies.PONG if message is None else replies.bulk(message)


@plain("ECHO", "message", "Answers the message.", group="connection", flags="fast")
def echo(session: Session, args: Arguments) -> bytes:
    return replies.bulk(args[1])


@plain(
    "QUIT",
    "",
    "Closes the connection.",
    group="connection",
    flags="fast",
    queued=False,
    lenient=True,
)
def quit_(session: Session, args: Arguments) -> bytes:
    session.client.close()
    return replies.OK


@plain("SELECT", "index", "Accepts database 0, the only one.", group="connection", flags="fast")
def select(session: Session, args: Arguments) -> bytes:
    if arguments.integer(args[1]) != 0:
        raise CommandError("DB index is out of range: there is one database, 0")
    return replies.OK


@plain(
    "RESET",
    "",
    "Ends the transaction and all subscriptions, and forgets the name.",
    group="connection",
    flags="fast",
    queued=False,
)
def reset(session: Session, args: Arguments) -> bytes:
    session.transaction = None
    session.watched.clear()
    session.service.push.forget(session.client)
    session.service.channels.forget(session.client)
    session.replying = Replying.ON
    stop_tracking(session)
    session.resp = 2
    session.name = b""
    session.settle()
    return replies.RESET


def stop_tracking(session: Session) -> None:
    session.tracking, session.caching = Tracking.OFF, None
    session.service.tracker.forget(session.client)
    session.settle()


def _authenticate(user: bytes) -> None:
    if user != b"default":
        raise CommandError("invalid username-password pair or user is disabled.", "WRONGPASS")


@plain("AUTH", "[username] password", "Says who the client is.", group="connection", flags="fast")
def auth(session: Session, args: Arguments) -> bytes:
    if len(args) == 2:
        raise CommandError(
            "AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?"
        )
    _authenticate(args[1])
    return replies.OK


@plain(
    "HELLO",
    "[protover [AUTH username password] [SETNAME clientname]]",
    "Chooses the version of the protocol and says what the server is.",
    group="connection",
    flags="fast",
)
def hello(session: Session, args: Arguments) -> bytes:
    resp, name = _greeting(session, args)
    if name is not None:
        session.name = name
    session.resp = resp
    if resp == 2:
        session.service.push.end_streams(session.client)
        stop_tracking(session)
    session.settle()
    return replies.encode(
        {
            "server": "timeline",
            "version": VERSION,
            "proto": resp,
            "id": session.id,
            "mode": "standalone",
            "role": "master",
            "modules": [],
        },
        resp,
    )


def _greeting(session: Session, args: Arguments) -> tuple[int, bytes | None]:
    """The version and the name that HELLO asks for."""
    if len(args) == 1:
        return session.resp, None
    if not args[1].isdigit():
        raise CommandError("Protocol version is not an integer or out of range")
    if args[1] not in (b"2", b"3"):
        raise CommandError("unsupported protocol version", "NOPROTO")
    name: bytes | None = None
    at = 2
    while at < len(args):
        word = args[at].upper()
        if word == b"AUTH" and at + 2 < len(args):
            _authenticate(args[at + 1])
            at += 3
        elif word == b"SETNAME" and at + 1 < len(args):
            name = client_name(args[at + 1])
            at += 2
        else:
            raise CommandError(f"Syntax error in HELLO option '{shown(args[at])}'")
    return int(args[1]), name


def client_name(value: bytes) -> bytes:
    """A name for a client, which CLIENT LIST shows: printable, without blanks."""
    if len(value) > 255:
        raise CommandError("a client's name is at most 255 bytes")
    if any(not 33 <= byte <= 126 for byte in value):
        raise CommandError("Client names cannot contain spaces, newlines or special characters.")
    return value
