"""What the daemon can be set to: its options, what each does, and which values can work.

Rule: an option that the engine has too is a field of `timeline.options.Options`, and not of
`Settings`; only `fsync` is in both, since the daemon's default is `auto`. Nothing here reads a file
or the environment: `config` does.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any

from timeline.errors import UsageError
from timeline.options import anchored

from ..wire.parser import Limits

# The least that a number may be, by option; 1 for the others.
_FLOORS = {
    "clients_bytes": 1 << 20,
    "port": -1,
    "metrics_port": -1,
    "slowlog_log_slower_than": -1,
    "slowlog_max_len": 0,
    "tcp_keepalive": 0,
    "timeout": 0,
}


def _option(default: Any, text: str) -> Any:  # noqa: ANN401  dataclasses.field is as untyped
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the daemon runs. Raises `UsageError` for values that cannot work."""

    data: str = _option("data", "directory of the store")
    host: str = _option(
        "127.0.0.1",
        "address to listen on; this machine's own only, as there is no authentication yet",
    )
    port: int = _option(7420, "port to listen on; 0: a free one, -1: none")
    socket: str = _option("", "path of a Unix socket to listen on as well; empty: none")
    socket_mode: str = _option("700", "permissions of the Unix socket, in octal: who may connect")
    metrics_host: str = _option("127.0.0.1", "address of /metrics, /healthz and /readyz")
    metrics_port: int = _option(
        -1, "HTTP port of /metrics, /healthz and /readyz; 0: a free one, -1: none"
    )
    backlog: int = _option(1024, "connections that the system queues until they are accepted")
    tcp_keepalive: int = _option(
        300, "seconds of silence until the system checks that a client is still there; 0: never"
    )
    timeout: int = _option(
        0, "seconds without a command until a client is closed, unless it waits; 0: never"
    )
    log_level: str = _option("info", "what is logged at least: debug, info, warning or error")
    log_format: str = _option("text", "text or json; one line for each event, on standard error")
    fsync: str = _option("auto", "where fsync runs: inline, thread, or auto, by how long one takes")
    maxclients: int = _option(10_000, "connections open at a time")
    arguments: int = _option(1024 * 1024, "arguments of one command")
    request_bytes: int = _option(16 << 20, "bytes of one command")
    argument_bytes: int = _option(16 << 20, "bytes of one argument")
    inline_bytes: int = _option(64 << 10, "bytes of an inline command")
    transaction_bytes: int = _option(64 << 20, "bytes of the commands that one MULTI queues")
    reply_bytes: int = _option(64 << 20, "bytes of one reply; a read that needs more is refused")
    output_bytes: int = _option(
        64 << 20, "bytes of pushes that wait for a client that does not read; above it is closed"
    )
    output_pause_bytes: int = _option(
        256 << 10, "bytes that may wait for a client; beyond that its commands wait too"
    )
    backlog_bytes: int = _option(
        1 << 20,
        "bytes of commands kept for a client that waits; beyond that its socket is not read",
    )
    clients_bytes: int = _option(
        128 << 20,
        "bytes that all clients together may hold; beyond that those with most are closed",
    )
    blocked: int = _option(10_000, "reads that may be blocked at a time")
    channels: int = _option(1024, "channels that one client may subscribe to")
    subscriptions: int = _option(
        16_384, "devices that one client may listen for, by USER.SUBSCRIBE and on their channels"
    )
    busy_ms: int = _option(
        2_000, "how long writes are slowed in a burst, before they are refused with BUSY"
    )
    slowlog_log_slower_than: int = _option(
        10_000, "SLOWLOG keeps commands that take more microseconds than this; -1: none"
    )
    slowlog_max_len: int = _option(128, "commands that SLOWLOG keeps")
    sync_block_ms: int = _option(
        4_000,
        "longest BLOCK of USER.SYNC, and WAIT of a search; redis-py gives up after 5 s by default",
    )
    backup_directory: str = _option(
        "", "directory in which BACKUP may write; empty: BACKUP is refused"
    )
    page_entries: int = _option(1_000, "entries in a page of LOG.TAIL, TIMELINE.LIST, USER.SYNC, …")

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            floor = _FLOORS.get(name, 1)
            if isinstance(value, int) and value < floor:
                raise UsageError(f"option {name} must be at least {floor}, not {value}")
        if self.fsync not in ("auto", "inline", "thread"):
            raise UsageError(f"fsync is auto, inline or thread, not {self.fsync!r}")
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise UsageError(f"log_level is debug, info, warning or error, not {self.log_level!r}")
        if self.log_format not in ("text", "json"):
            raise UsageError(f"log_format is text or json, not {self.log_format!r}")
        if not self.data:
            raise UsageError("data must name a directory")
        for name, port in (("port", self.port), ("metrics_port", self.metrics_port)):
            if port > 65_535:
                raise UsageError(f"{name} is at most 65535, not {port}")
        if self.port == self.metrics_port > 0:
            raise UsageError("port and metrics_port are the same: choose another --metrics-port")
        if self.port < 0 and not self.socket:
            raise UsageError("port is -1 and there is no socket: nobody could connect")
        if not re.fullmatch("0?[0-7]{3}", self.socket_mode):
            raise UsageError(f"socket_mode is octal, such as 770, not {self.socket_mode!r}")
        if not is_loopback(self.host):
            raise UsageError(
                f"refusing to listen on {self.host}: without authentication, which this version "
                "does not have yet, anyone who reaches the port could read and write everything. "
                "Use 127.0.0.1 and, for other machines, an SSH tunnel"
            )

    def anchored(self) -> Settings:
        """The same with absolute paths: the working directory may change. Raises `UsageError`."""
        return dataclasses.replace(
            self,
            data=_anchored(self.data),
            backup_directory=_anchored(self.backup_directory),
            socket=_anchored(self.socket),
        )

    @property
    def limits(self) -> Limits:
        return Limits(
            arguments=self.arguments,
            request_bytes=self.request_bytes,
            argument_bytes=self.argument_bytes,
            inline_bytes=self.inline_bytes,
        )


def _anchored(path: str) -> str:
    """Where a path leads, if there is one."""
    return path and str(anchored(path))


def is_loopback(host: str) -> bool:
    """Whether nobody on another machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
