"""The commands, a file for each family. Importing this package fills the table."""

from __future__ import annotations

from ..registry import COMMANDS
from . import (
    backup,
    clients,
    connection,
    conversations,
    info,
    inspection,
    introspection,
    keys,
    log,
    probes,
    pubsub,
    ranges,
    search,
    server,
    streaminfo,
    streams,
    timelines,
    transactions,
    users,
)

__all__ = [
    "COMMANDS",
    "backup",
    "clients",
    "connection",
    "conversations",
    "info",
    "inspection",
    "introspection",
    "keys",
    "log",
    "probes",
    "pubsub",
    "ranges",
    "search",
    "server",
    "streaminfo",
    "streams",
    "timelines",
    "transactions",
    "users",
]
