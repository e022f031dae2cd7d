"""INFO: what the daemon is and does, in Redis's sections and one of our own.

Rule: a field of Redis keeps its name and meaning here, or is left out. What only this daemon has is
in the sections `timeline` and `jobs`. INFO answers whatever happened to the disk. While the storage
is closed after a failure, what only the storage knows is left out.
"""

from __future__ import annotations

import os
import platform
import resource
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from timeline.errors import ClosedError

from ...config.config import FORM, VERSION
from ...registry.command import Arguments
from ...registry.lookup import every
from ...service.service import Service
from ...service.session import Session
from ...wire import replies
from ..declaring import plain
from .connection import REDIS_VERSION

Section = Mapping[str, object]

_RUN_ID: Final = secrets.token_hex(20)  # of this start of the daemon


def _server(service: Service) -> Section:
    uptime = service.loop.time() - service.started
    return {
        "redis_version": REDIS_VERSION,
        "redis_mode": "standalone",
        "timeline_version": VERSION,
        "timeline_form": FORM,
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "arch_bits": 64,
        "multiplexing_api": "uvloop",
        "python_version": platform.python_version(),
        "process_id": os.getpid(),
        "run_id": _RUN_ID,
        "tcp_port": service.port,
        "unix_socket": service.configuration.settings.socket,
        "metrics_port": -1 if service.metrics_port is None else service.metrics_port,
        "uptime_in_seconds": int(uptime),
        "uptime_in_days": int(uptime // 86_400),
        "server_time_usec": time.time_ns() // 1000,
        "executable": sys.argv[0],
        "config_file": service.configuration.file,
    }


def _clients(service: Service) -> Section:
    clients = service.clients.values()
    return {
        "connected_clients": len(service.clients),
        "maxclients": service.tunables.maxclients,
        "blocked_clients": len(service.waiters),
        "pubsub_clients": sum(
            client.session.listening or service.push.count(client) > 0 for client in clients
        ),
        "client_recent_max_input_buffer": max(
            (client.input_bytes for client in clients), default=0
        ),
        "client_recent_max_output_buffer": max(
            (client.output_bytes for client in clients), default=0
        ),
    }


def memory(service: Service) -> dict[str, int | str]:
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()[1]
        resident = int(pages) * resource.getpagesize()
    except OSError:  # not Linux: the peak will do
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "used_memory": resident,
        "used_memory_human": _human(resident),
        "used_memory_rss": resident,
        "used_memory_rss_human": _human(resident),
        "used_memory_peak": max(peak, resident),
        "used_memory_peak_human": _human(max(peak, resident)),
        "total_system_memory": _pages("SC_PHYS_PAGES"),
        "total_system_memory_human": _human(_pages("SC_PHYS_PAGES")),
        "mem_clients_normal": sum(client.holds() for client in service.clients.values()),
        "maxmemory": 0,
        "maxmemory_human": "0B",
        "maxmemory_policy": "noeviction",
    }


def _pages(name: str) -> int:
    return os.sysconf(name) * resource.getpagesize()


def _human(count: int) -> str:
    """As Redis writes bytes for people."""
    amount, unit = float(count), "B"
    for unit in "BKMGT":
        if amount < 1024 or unit == "T":
            break
        amount /= 1024
    return f"{count}B" if unit == "B" else f"{amount:.2f}{unit}"


def _persistence(service: Service) -> Section:
    """The log stands for Redis's append-only file."""
    failed = service.engine.poisoned
    return {
        "loading": 0,
        "async_loading": 0,
        "rdb_changes_since_last_save": 0,
        "rdb_bgsave_in_progress": 0,
        "rdb_last_bgsave_status": "ok",
        "aof_enabled": 1,
        "aof_rewrite_in_progress": 0,
        "aof_last_bgrewrite_status": "ok",
        "aof_last_write_status": "err" if failed else "ok",
    }


def _stats(service: Service) -> Section:
    counters = service.counters
    return {
        "total_connections_received": counters.connections,
        "total_commands_processed": sum(each.account.calls for each in every()),
        "total_net_input_bytes": counters.input_bytes,
        "total_net_output_bytes": counters.output_bytes,
        "rejected_connections": counters.rejected,
        "closed_connections": counters.disconnected,
        "total_error_replies": counters.errors.total(),
        "expired_keys": 0,
        "evicted_keys": 0,
        "evicted_clients": service.holdings.evicted,
        "pubsub_channels": len(service.channels.names()),
        "pubsub_patterns": service.channels.patterns,
        "commit_groups": service.pipeline.groups,
    }


def _replication(service: Service) -> Section:
    return {"role": "master", "connected_slaves": 0}


def _cpu(service: Service) -> Section:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"used_cpu_sys": round(usage.ru_stime, 6), "used_cpu_user": round(usage.ru_utime, 6)}


def _commandstats(service: Service) -> Section:
    found: dict[str, object] = {}
    for each in every():
        account = each.account
        if account.calls or account.rejections:
            microseconds = account.seconds * 1e6
            found[f"cmdstat_{each.wire_name}"] = (
                f"calls={account.calls},usec={microseconds:.0f},"
                f"usec_per_call={microseconds / max(1, account.calls):.2f},"
                f"rejected_calls={account.rejections},failed_calls={account.failures}"
            )
    return found


def _keyspace(service: Service) -> Section:
    with suppress(ClosedError):
        return {"db0": f"keys={service.timelines()},expires=0,avg_ttl=0"}
    return {}


def _errorstats(service: Service) -> Section:
    errors = service.counters.errors
    return {f"errorstat_{code}": f"count={count}" for code, count in sorted(errors.items())}


def _modules(service: Service) -> Section:
    return {}


def _cluster(service: Service) -> Section:
    return {"cluster_enabled": 0}


def _timeline(service: Service) -> Section:
    found: dict[str, object] = {}
    with service.engine.lock:
        found.update(service.engine.figures().shown())
        with suppress(ClosedError):
            found.update(service.messages.stats())
            found.update(service.feeds.stats())
        push, pipeline, refusal = service.push, service.pipeline, service.engine.refusal
        found |= {
            "refusing": "" if refusal is None else refusal.code,
            "refusing_because": "" if refusal is None else " ".join(str(refusal).split()),
            "waiting_turns": len(service.turns),
            "waiting_replies": service.holdings.waiting,
            "waiting_writers": pipeline.waiting,
            "write_waits": pipeline.waits,
            "subscribers": len(push),
            "pushes": push.pushed,
        }
    return found


def _jobs(service: Service) -> Section:
    """Work that takes long, and how far it is."""
    return {
        f"job{number}": ",".join(f"{name}={value}" for name, value in job.facts().items())
        for number, job in enumerate(service.threads.jobs)
    }


_SECTIONS: dict[str, Callable[[Service], Section]] = {
    "server": _server,
    "clients": _clients,
    "memory": memory,
    "persistence": _persistence,
    "stats": _stats,
    "replication": _replication,
    "cpu": _cpu,
    "modules": _modules,
    "commandstats": _commandstats,
    "errorstats": _errorstats,
    "cluster": _cluster,
    "keyspace": _keyspace,
    "timeline": _timeline,
    "jobs": _jobs,
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
