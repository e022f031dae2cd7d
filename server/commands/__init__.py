"""The commands, a file for each family. Importing this package fills the table."""

from __future__ import annotations

from ..registry import COMMANDS
from . import (
    clients,
    connection,
    introspection,
    keys,
    log,
    pubsub,
    ranges,
    server,
    streams,
    timelines,
    transactions,
)

__all__ = [
    "COMMANDS",
    "clients",
    "connection",
    "introspection",
    "keys",
    "log",
    "pubsub",
    "ranges",
    "server",
    "streams",
    "timelines",
    "transactions",
]
