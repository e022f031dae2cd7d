"""Commands about the daemon: INFO, CONFIG, SLOWLOG, SHUTDOWN.

Rule: names are those of Redis where its clients look for them, ours where there is none. No secret
is shown.
"""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Callable, Mapping
from pathlib import Path

from .. import replies
from ..config import VERSION, as_given, options
from ..errors import CommandError
from ..registry import COMMANDS, Arguments, container, plain, shown
from ..service import Service
from ..session import Session
from . import arguments
from .connection import REDIS_VERSION
from .keys import matches

Section = Mapping[str, object]


def _server(service: Service) -> Section:
    uptime = service.loop.time() - service.started
    return {
        "redis_version": REDIS_VERSION,
        "redis_mode": "standalone",
        "timeline_version": VERSION,
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "arch_bits": 64,
        "multiplexing_api": "uvloop",
        "process_id": os.getpid(),
        "tcp_port": service.port,
        "metrics_port": -1 if service.metrics_port is None else service.metrics_port,
        "uptime_in_seconds": int(uptime),
        "uptime_in_days": int(uptime // 86_400),
        "executable": "timelined",
    }


def _clients(service: Service) -> Section:
    return {
        "connected_clients": len(service.clients),
        "maxclients": service.tunables.maxclients,
        "blocked_clients": len(service.waiters),
        "client_recent_max_input_buffer": max(
            (client.input_bytes for client in service.clients.values()), default=0
        ),
        "client_recent_max_output_buffer": max(
            (client.output_bytes for client in service.clients.values()), default=0
        ),
    }


def _memory(service: Service) -> Section:
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()[1]
        resident = int(pages) * resource.getpagesize()
    except OSError:  # not Linux: the peak will do
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "used_memory": resident,
        "used_memory_rss": resident,
        "used_memory_peak": max(peak, resident),
        "maxmemory": 0,
        "maxmemory_policy": "noeviction",
    }


def _persistence(service: Service) -> Section:
    return {
        "loading": 0,
        "async_loading": 0,
        "rdb_changes_since_last_save": 0,
        "rdb_bgsave_in_progress": 0,
        "aof_enabled": 1,
        "aof_rewrite_in_progress": 0,
        "aof_last_write_status": "ok",
    }


def _stats(service: Service) -> Section:
    counters = service.counters
    clients = service.clients.values()
    channels = {channel for client in clients for channel in client.session.channels}
    return {
        "total_connections_received": counters.connections,
        "total_commands_processed": counters.commands,
        "total_net_input_bytes": counters.input_bytes,
        "total_net_output_bytes": counters.output_bytes,
        "rejected_connections": counters.rejected,
        "closed_connections": counters.disconnected,
        "total_error_replies": counters.errors.total(),
        "pubsub_channels": len(channels),
        "commit_groups": service.pipeline.groups,
    }


def _replication(service: Service) -> Section:
    return {"role": "master", "connected_slaves": 0}


def _cpu(service: Service) -> Section:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"used_cpu_sys": round(usage.ru_stime, 6), "used_cpu_user": round(usage.ru_utime, 6)}


def _commandstats(service: Service) -> Section:
    found: dict[str, object] = {}
    for command in COMMANDS.values():
        for each in (command, *command.subcommands.values()):
            ways = each.ways
            calls = sum(way.calls for way in ways)
            if calls:
                microseconds = int(sum(way.seconds for way in ways) * 1e6)
                found[f"cmdstat_{each.name.lower().replace(' ', '|')}"] = (
                    f"calls={calls},usec={microseconds},"
                    f"usec_per_call={microseconds / calls:.2f},"
                    f"rejected_calls=0,failed_calls={sum(way.failures for way in ways)}"
                )
    return found


def _keyspace(service: Service) -> Section:
    return {"db0": f"keys={service.timelines()},expires=0,avg_ttl=0"}


def _timeline(service: Service) -> Section:
    with service.engine.lock:
        return {**service.engine.stats(), **service.messages.stats()}


_SECTIONS: dict[str, Callable[[Service], Section]] = {
    "server": _server,
    "clients": _clients,
    "memory": _memory,
    "persistence": _persistence,
    "stats": _stats,
    "replication": _replication,
    "cpu": _cpu,
    "commandstats": _commandstats,
    "keyspace": _keyspace,
    "timeline": _timeline,
}
_DEFAULT = [name for name in _SECTIONS if name != "commandstats"]


@plain("INFO", "[section...]", "What the daemon is and does, in sections.", flags="loading")
def info(session: Session, args: Arguments) -> bytes:
    wanted = [argument.decode("latin-1").lower() for argument in args[1:]] or ["default"]
    names: dict[str, None] = {}
    for word in wanted:
        names.update(
            dict.fromkeys(
                list(_SECTIONS)
                if word in ("all", "everything")
                else _DEFAULT
                if word == "default"
                else [word]
            )
        )
    parts = []
    for name in names:
        section = _SECTIONS.get(name)
        if section is not None:
            lines = [f"{key}:{value}\r\n" for key, value in section(session.service).items()]
            parts.append(f"# {name.capitalize()}\r\n" + "".join(lines))
    text = "\r\n".join(parts).encode()
    return b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text) if session.resp == 3 else replies.bulk(text)


container("CONFIG", "The options the daemon runs with.")

# Names of Redis that its clients and tools ask for, and what they mean here.
_TUNABLE = ("maxclients", "slowlog-log-slower-than", "slowlog-max-len")


def _configuration(service: Service) -> dict[str, str]:
    settings, engine = service.configuration.settings, service.configuration.engine
    found = {
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always" if engine.durability == "sync" else "everysec",
        "databases": "1",
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
        "timeout": "0",
        "bind": settings.host,
        "dir": str(Path(settings.data).absolute()),
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
    for name in _TUNABLE:
        found[name] = str(getattr(service.tunables, name.replace("-", "_")))
    return found


@plain("CONFIG GET", "pattern...", "Options whose names match.", complexity="O(N) for N options")
def config_get(session: Session, args: Arguments) -> bytes:
    found: dict[str, replies.Value] = {}
    for name, value in _configuration(session.service).items():
        spellings = (name.encode(), name.replace("-", "_").encode())
        for pattern in args[2:]:
            if any(matches(pattern.lower(), spelling) for spelling in spellings):
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
        if name not in _TUNABLE:
            raise CommandError(
                f"CONFIG SET failed (possibly related to argument '{name}') - "
                "can't set immutable config: give it on the command line, in the environment or "
                "in the file"
            )
        changes[name] = _tunable(name, value)
    for name, number in changes.items():
        setattr(session.service.tunables, name.replace("-", "_"), number)
    return replies.OK


def _tunable(name: str, value: bytes) -> int:
    low = {"maxclients": 1, "slowlog-log-slower-than": -1, "slowlog-max-len": 0}[name]
    try:
        return arguments.integer(value, low, 1_000_000_000)
    except CommandError:
        raise CommandError(
            f"CONFIG SET failed (possibly related to argument '{name}') - "
            f"argument must be between {low} and 1000000000"
        ) from None


container("SLOWLOG", "Commands that took long.")


@plain(
    "SLOWLOG GET", "[count]", "The newest slow commands.", complexity="O(N) for N commands returned"
)
def slowlog_get(session: Session, args: Arguments) -> bytes:
    try:
        count = arguments.integer(args[2], -1) if len(args) > 2 else 10
    except CommandError:
        raise CommandError("count should be greater than or equal to -1") from None
    kept = list(session.service.slow)
    found: list[replies.Value] = [
        [slow.id, slow.time, slow.microseconds, list(slow.args), slow.address, slow.name]
        for slow in (kept if count < 0 else kept[:count])
    ]
    return replies.encode(found, session.resp)


@plain("SLOWLOG LEN", "", "How many slow commands are kept.")
def slowlog_len(session: Session, args: Arguments) -> bytes:
    return replies.integer(len(session.service.slow))


@plain("SLOWLOG RESET", "", "Forgets the slow commands.")
def slowlog_reset(session: Session, args: Arguments) -> bytes:
    session.service.slow.clear()
    return replies.OK


@plain(
    "SHUTDOWN",
    "[NOSAVE|SAVE] [NOW] [FORCE]",
    "Stops the daemon; nothing acknowledged is lost.",
    flags="admin",
)
def shutdown(session: Session, args: Arguments) -> None:
    for word in args[1:]:
        if word.upper() not in (b"NOSAVE", b"SAVE", b"NOW", b"FORCE"):
            raise arguments.syntax_error()
    session.connection.close()
    session.service.stop()
