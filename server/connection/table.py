"""The table of commands, filled: importing this imports every family.

Rule: whatever carries commands out takes the table from here, so that none is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..commands.redis import (
    clients,
    connection,
    info,
    introspection,
    keys,
    probes,
    pubsub,
    ranges,
    reading,
    server,
    streaminfo,
    streams,
    transactions,
)
from ..commands.timeline import (
    backup,
    conversations,
    devices,
    feeddevices,
    feeds,
    follows,
    inspection,
    log,
    messages,
    notes,
    search,
    timelines,
    users,
)
from ..registry import lookup
from ..registry.command import Command

FAMILIES: Final = (
    backup,
    clients,
    connection,
    conversations,
    devices,
    feeddevices,
    feeds,
    follows,
    info,
    inspection,
    introspection,
    keys,
    log,
    messages,
    notes,
    probes,
    pubsub,
    ranges,
    reading,
    search,
    server,
    streaminfo,
    streams,
    timelines,
    transactions,
    users,
)
# Each of them has declared its commands by now.
COMMANDS: Final[Mapping[bytes, Command]] = lookup.COMMANDS
