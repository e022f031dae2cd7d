"""The table of commands, filled: importing this imports every family.

Rule: whatever carries commands out takes the table from here, so that none is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from . import registry
from .command import Command
from .commands import (
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

FAMILIES: Final = (
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
# Each of them has declared its commands by now.
COMMANDS: Final[Mapping[bytes, Command]] = registry.COMMANDS
