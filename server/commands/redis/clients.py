"""CLIENT: the connections, and what each client has said about itself."""

from __future__ import annotations

from collections.abc import Callable

from timeline.errors import UsageError

from ...clients.client import Client
from ...clients.state import ClientState, Replying, Tracking
from ...errors import CommandError
from ...registry.command import Arguments
from ...registry.lookup import shown
from ...service.session import Session
from ...wire import replies
from .. import arguments
from ..arguments import syntax_error
from ..declaring import container, plain
from .connection import client_name, stop_tracking

container("CLIENT", "The connections, this one and others.", group="connection")


@plain("CLIENT ID", "", "The number of this connection.", group="connection", flags="fast")
def client_id(session: Session, args: Arguments) -> bytes:
    return replies.integer(session.id)


@plain("CLIENT GETNAME", "", "The name given to this connection.", group="connection", flags="fast")
def getname(session: Session, args: Arguments) -> bytes:
    return replies.bulk(session.name) if session.name else replies.nil(session.resp)


@plain("CLIENT SETNAME", "name", "Gives this connection a name.", group="connection", flags="fast")
def setname(session: Session, args: Arguments) -> bytes:
    session.name = client_name(args[2])
    return replies.OK


@plain(
    "CLIENT SETINFO",
    "LIB-NAME libname|LIB-VER libver",
    "Says which library the client uses.",
    group="connection",
    flags="fast",
)
def setinfo(session: Session, args: Arguments) -> bytes:
    word = args[2].upper()
    value = client_name(args[3])
    if word == b"LIB-NAME":
        session.library = value
    elif word == b"LIB-VER":
        session.library_version = value
    else:
        raise CommandError(f"Unrecognized option '{shown(args[2])}'")
    return replies.OK


@plain("CLIENT INFO", "", "What is known of this connection.", group="connection")
def info(session: Session, args: Arguments) -> bytes:
    return _text(session, [_line(session.client, session.service.loop.time())])


@plain(
    "CLIENT LIST",
    "[TYPE type] [ID client-id...]",
    "What is known of all connections.",
    group="connection",
    complexity="O(N) for N connections",
)
def list_(session: Session, args: Arguments) -> bytes:
    wanted = _filter(args, 2)
    now = session.service.loop.time()
    clients = session.service.clients.values()
    lines = [_line(each, now) for each in clients if wanted(each.session)]
    return _text(session, lines)


def _text(session: Session, lines: list[str]) -> bytes:
    text = "".join(line + "\n" for line in lines).encode()
    return b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text) if session.resp == 3 else replies.bulk(text)


def _line(client: Client, now: float) -> str:
    session = client.session
    flags = (
        "b" if client.waiter else "x" if session.transaction else "P" if session.listening else ""
    )
    if session.local_address.startswith("/"):
        flags += "U"
    transaction = session.transaction
    queued_bytes = 0 if transaction is None else transaction.bytes
    queued = -1 if transaction is None else len(transaction.commands)
    return (
        f"id={session.id} addr={session.address} laddr={session.local_address} fd=0 "
        f"name={session.name.decode()} age={now - session.created:.0f} "
        f"idle={now - session.active:.0f} flags={flags or 'N'} db=0 "
        f"sub={len(session.channels)} psub={len(session.patterns)} ssub=0 multi={queued} "
        f"qbuf={client.input_bytes} qbuf-free=0 argv-mem=0 multi-mem={queued_bytes} "
        f"rbs=0 rbp=0 obl=0 oll=0 "
        f"omem={client.output_bytes} "
        f"tot-mem={client.holds()} events=r "
        f"cmd={'NULL' if session.last is None else session.last.wire_name} "
        f"user={session.user} redir=-1 "
        f"resp={session.resp} lib-name={session.library.decode()} "
        f"lib-ver={session.library_version.decode()}"
    )


def _filter(args: Arguments, at: int) -> Callable[[ClientState], bool]:
    """Which sessions the options of CLIENT LIST name."""
    if at == len(args):
        return lambda _: True
    word = args[at].upper()
    if word == b"TYPE" and at + 2 == len(args):
        return _of_type(args[at + 1])
    if word == b"ID" and at + 1 < len(args):
        ids = {_number(value) for value in args[at + 1 :]}
        return lambda session: session.id in ids
    raise syntax_error()


def _number(value: bytes) -> int:
    try:
        return arguments.integer(value, 1)
    except CommandError:
        raise CommandError("client-id should be greater than 0") from None


def _of_type(value: bytes) -> Callable[[ClientState], bool]:
    kind = value.lower()
    if kind not in (b"normal", b"pubsub", b"master", b"replica", b"slave"):
        raise CommandError(f"Unknown client type '{shown(value)}'")
    return lambda session: kind == (b"pubsub" if session.listening else b"normal")


@plain(
    "CLIENT KILL",
    "[ip:port] [ID client-id] [TYPE type] [ADDR ip:port] [LADDR ip:port] [USER username] "
    "[SKIPME YES|NO]",
    "Closes connections and answers how many, or OK in the old form with an address.",
    group="connection",
    complexity="O(N) for N connections",
)
def kill(session: Session, args: Arguments) -> bytes:
    clients = list(session.service.clients.values())
    if len(args) == 3:
        address = args[2].decode("latin-1")
        for client in clients:
            if client.session.address == address:
                _close(session, client)
                return replies.OK
        raise CommandError("No such client")
    wanted, skip_me = _kill_filters(args)
    killed = 0
    for client in clients:
        if all(test(client.session) for test in wanted) and not (
            skip_me and client.session is session
        ):
            _close(session, client)
            killed += 1
    return replies.integer(killed)


def _kill_filters(args: Arguments) -> tuple[list[Callable[[ClientState], bool]], bool]:
    if len(args) < 4 or len(args) & 1:
        raise syntax_error()
    tests: list[Callable[[ClientState], bool]] = []
    skip_me = True
    for word, value in zip(args[2::2], args[3::2], strict=True):
        match word.upper():
            case b"ID":
                tests.append(lambda each, number=_number(value): each.id == number)  # type: ignore[misc]
            case b"TYPE":
                tests.append(_of_type(value))
            case b"ADDR":
                tests.append(lambda each, text=value.decode("latin-1"): each.address == text)  # type: ignore[misc]
            case b"LADDR":
                tests.append(lambda each, text=value.decode("latin-1"): each.local_address == text)  # type: ignore[misc]
            case b"USER":
                tests.append(lambda each, text=value.decode("latin-1"): each.user == text)  # type: ignore[misc]
            case b"SKIPME" if value.lower() in (b"yes", b"no"):
                skip_me = value.lower() == b"yes"
            case _:
                raise syntax_error()
    return tests, skip_me


def _close(session: Session, client: Client) -> None:
    if client is session.client:
        client.close()
    else:
        client.disconnect("killed by CLIENT KILL")


@plain(
    "CLIENT UNBLOCK",
    "client-id [TIMEOUT|ERROR]",
    "Ends the wait of a blocked read, as if its time were over, or with an error. Answers "
    "1 if it waited.",
    group="connection",
    flags="admin noscript loading stale",
)
def unblock(session: Session, args: Arguments) -> bytes:
    number = arguments.integer(args[2])
    word = args[3].upper() if len(args) > 3 else b"TIMEOUT"
    if word not in (b"TIMEOUT", b"ERROR"):
        raise CommandError("CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    service = session.service
    client = service.clients.get(number)
    waiter = None if client is None else client.waiter
    if client is None or waiter is None or waiter.read is None:
        return replies.integer(0)  # also to one that waits for work that is under way
    if word == b"ERROR":
        problem = CommandError("client unblocked via CLIENT UNBLOCK", "UNBLOCKED")
        service.waiters.answer(waiter, service.refuse_late(client.session, problem))
    else:
        service.waiters.expire(waiter)
    return replies.integer(1)


@plain(
    "CLIENT REPLY",
    "ON|OFF|SKIP",
    "Whether commands are answered, from now on or, with SKIP, the next one.",
    group="connection",
    flags="noscript loading stale no_multi",
)
def reply(session: Session, args: Arguments) -> bytes | None:
    word = args[2].upper()
    if word not in (b"ON", b"OFF", b"SKIP"):
        raise syntax_error()
    if word == b"SKIP" and session.replying is Replying.OFF:
        return None
    session.replying = Replying[word.decode()]
    session.settle()
    return replies.OK if word == b"ON" else None


@plain(
    "CLIENT TRACKING",
    "ON|OFF [REDIRECT client-id] [(PREFIX prefix)...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
    "Tells this client (RESP3), once, when a key that it has read may have changed.",
    group="connection",
    flags="noscript loading stale",
)
def tracking(session: Session, args: Arguments) -> bytes:
    word, options = args[2].upper(), {option.upper() for option in args[3:]}
    if word not in (b"ON", b"OFF"):
        raise syntax_error()
    if word == b"OFF":
        stop_tracking(session)
        return replies.OK
    if options & {b"BCAST", b"PREFIX", b"REDIRECT"} or session.resp != 3:
        raise UsageError(
            "a client is told of the keys that it reads itself: use HELLO 3, and no BCAST, PREFIX "
            "or REDIRECT"
        )
    if options - {b"OPTIN", b"OPTOUT", b"NOLOOP"} or {b"OPTIN", b"OPTOUT"} <= options:
        raise syntax_error()
    mode = options & {b"OPTIN", b"OPTOUT"}
    session.tracking = Tracking[mode.pop().decode()] if mode else Tracking.ON
    session.settle()
    return replies.OK


@plain(
    "CLIENT CACHING",
    "YES|NO",
    "Whether the client may keep the answer to the next command, or transaction.",
    group="connection",
    flags="noscript loading stale",
)
def caching(session: Session, args: Arguments) -> bytes:
    word = args[2].upper()
    if session.tracking not in (Tracking.OPTIN, Tracking.OPTOUT):
        raise CommandError(
            "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or "
            "OPTOUT mode enabled"
        )
    if word not in (b"YES", b"NO"):
        raise syntax_error()
    wanted = {b"YES": Tracking.OPTIN, b"NO": Tracking.OPTOUT}[word]
    if session.tracking is not wanted:
        raise CommandError(
            f"CLIENT CACHING {word.decode()} is only valid when tracking is enabled in "
            f"{wanted.name} mode."
        )
    session.caching = word == b"YES"
    session.settle()
    return replies.OK


@plain(
    "CLIENT TRACKINGINFO",
    "",
    "What CLIENT TRACKING has set.",
    group="connection",
    flags="noscript loading stale",
)
def trackinginfo(session: Session, args: Arguments) -> bytes:
    flags = replies.Set(["off" if session.tracking is Tracking.OFF else "on"])
    if session.tracking in (Tracking.OPTIN, Tracking.OPTOUT):
        flags.append(session.tracking.name.lower())
    if session.caching is not None:
        flags.append("caching-yes" if session.caching else "caching-no")
    redirect = -1 if session.tracking is Tracking.OFF else 0
    found: replies.Value = {"flags": flags, "redirect": redirect, "prefixes": []}
    return replies.encode(found, session.resp)


@plain(
    "CLIENT GETREDIR",
    "",
    "-1, or 0 after CLIENT TRACKING: nothing is redirected.",
    group="connection",
    flags="noscript loading stale",
)
def getredir(session: Session, args: Arguments) -> bytes:
    return replies.integer(-1 if session.tracking is Tracking.OFF else 0)


def _on_off(args: Arguments) -> bytes:
    if args[2].upper() not in (b"ON", b"OFF"):
        raise syntax_error()
    return replies.OK


@plain("CLIENT NO-EVICT", "ON|OFF", "Accepted; nothing is evicted here.", group="connection")
def no_evict(session: Session, args: Arguments) -> bytes:
    return _on_off(args)


@plain("CLIENT NO-TOUCH", "ON|OFF", "Accepted; nothing is touched here.", group="connection")
def no_touch(session: Session, args: Arguments) -> bytes:
    return _on_off(args)
