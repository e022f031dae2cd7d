"""Commands about the daemon: CONFIG, SLOWLOG, SHUTDOWN. INFO has a file of its own.

Rule: options have the names of Redis where its clients look for them, else our own. No secret is
shown.
"""

from __future__ import annotations

from ...config.config import as_given, options
from ...errors import CommandError
from ...registry.command import Arguments
from ...registry.lookup import shown
from ...service.service import Service
from ...service.session import Session
from ...sockets.descriptors import provide
from ...wire import replies
from .. import arguments
from ..declaring import container, plain
from ..glob import Glob

container("CONFIG", "The options the daemon runs with.")

# What may change while the daemon runs: the least and the most.
_RANGES = {
    "maxclients": (1, 1_000_000_000),
    "clients-bytes": (1 << 20, 1 << 50),
    "slowlog-log-slower-than": (-1, 1_000_000_000),
    "slowlog-max-len": (0, 1_000_000_000),
    "tcp-keepalive": (0, (1 << 31) - 1),
    "timeout": (0, (1 << 31) - 1),
}


def _configuration(service: Service) -> dict[str, str]:
    settings, engine = service.configuration.settings, service.configuration.engine
    found = {
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always" if engine.durability == "sync" else "everysec",
        "databases": "1",
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
        "bind": settings.host,
        "dir": settings.data,
        "unixsocket": settings.socket,
        "unixsocketperm": settings.socket_mode if settings.socket else "0",
        "proto-max-bulk-len": str(settings.argument_bytes),
    }
    for option in options():
        value = getattr(engine if option.engine else settings, option.name)
        found[option.name.replace("_", "-")] = (
            str(value).lower() if isinstance(value, bool) else as_given(value)
        )
    found["port"] = str(service.port)
    if service.metrics_port is not None:
        found["metrics-port"] = str(service.metrics_port)
    for name in _RANGES:
        found[name] = str(getattr(service.tunables, name.replace("-", "_")))
    return found


@plain("CONFIG GET", "pattern...", "Options whose names match.", complexity="O(N) for N options")
def config_get(session: Session, args: Arguments) -> bytes:
    found: dict[str, replies.Value] = {}
    globs = [(pattern, Glob(pattern, ignore_case=True)) for pattern in args[2:]]
    for name, value in _configuration(session.service).items():
        spellings = (name.encode(), name.replace("-", "_").encode())
        for pattern, glob in globs:
            if any(glob.matches(spelling) for spelling in spellings):
                found[name if b"_" not in pattern else spellings[1].decode()] = value
                break
    return replies.encode(found, session.resp)


@plain("CONFIG SET", "(parameter value)...", "Changes options that may change while running.")
def config_set(session: Session, args: Arguments) -> bytes:
    if len(args) & 1:
        raise CommandError("wrong number of arguments for 'config|set' command")
    known = _configuration(session.service)
    changes: dict[str, int] = {}
    for parameter, value in zip(args[2::2], args[3::2], strict=True):
        name = parameter.decode("latin-1").lower().replace("_", "-")
        if name not in known:
            raise CommandError(
                f"Unknown option or number of arguments for CONFIG SET - '{shown(parameter)}'"
            )
        if name not in _RANGES:
            raise CommandError(
                f"CONFIG SET failed (possibly related to argument '{name}') - "
                "can't set immutable config: give it on the command line, in the environment or "
                "in the file"
            )
        changes[name] = number = _tunable(name, value)
        if name == "maxclients" and (room := provide(number)[0]) < number:
            raise CommandError(
                "CONFIG SET failed (possibly related to argument 'maxclients') - The operating "
                f"system is not able to handle the specified number of clients, try with {room}"
            )
    for name, number in changes.items():
        setattr(session.service.tunables, name.replace("-", "_"), number)
    session.service.tunables.settle()
    return replies.OK


def _tunable(name: str, value: bytes) -> int:
    low, high = _RANGES[name]
    try:
        return arguments.integer(value, low, high)
    except CommandError:
        raise CommandError(
            f"CONFIG SET failed (possibly related to argument '{name}') - "
            f"argument must be between {low} and {high}"
        ) from None


@plain(
    "CONFIG RESETSTAT",
    "",
    "Sets the counts of commands, errors, connections, bytes and pushes to 0.",
)
def config_resetstat(session: Session, args: Arguments) -> bytes:
    session.service.reset_counters()
    return replies.OK


@plain("CONFIG REWRITE", "", "An error: options are given at the start.")
def config_rewrite(session: Session, args: Arguments) -> bytes:
    raise CommandError("the configuration file is not written by the daemon: edit it")


container("SLOWLOG", "Commands that took long.")


@plain(
    "SLOWLOG GET", "[count]", "The newest slow commands.", complexity="O(N) for N commands returned"
)
def slowlog_get(session: Session, args: Arguments) -> bytes:
    try:
        count = arguments.integer(args[2], -1) if len(args) > 2 else 10
    except CommandError:
        raise CommandError("count should be greater than or equal to -1") from None
    kept = list(session.service.slow.kept)
    found: list[replies.Value] = [
        [slow.id, slow.time, slow.microseconds, list(slow.args), slow.address, slow.name]
        for slow in (kept if count < 0 else kept[:count])
    ]
    return replies.encode(found, session.resp)


@plain("SLOWLOG LEN", "", "How many slow commands are kept.")
def slowlog_len(session: Session, args: Arguments) -> bytes:
    return replies.integer(len(session.service.slow.kept))


@plain("SLOWLOG RESET", "", "Forgets the slow commands.")
def slowlog_reset(session: Session, args: Arguments) -> bytes:
    session.service.slow.kept.clear()
    return replies.OK


@plain(
    "SHUTDOWN",
    "[NOSAVE|SAVE] [NOW] [FORCE]",
    "Stops the daemon; nothing acknowledged is lost.",
    flags="admin noscript no_multi",
)
def shutdown(session: Session, args: Arguments) -> None:
    for word in args[1:]:
        if word.upper() not in (b"NOSAVE", b"SAVE", b"NOW", b"FORCE"):
            raise arguments.syntax_error()
    session.client.close()
    session.service.stop()
