"""Timeline: an append-only storage engine for chat, notifications and feeds.

`open` a directory, get a `Database`; README.md has twenty lines that show the rest.
"""

from timeline.admin.backup import restore
from timeline.embedded.database import (
    Database,
    open_database as open,  # noqa: A004  read as timeline.open
)
from timeline.embedded.handle import TimelineHandle
from timeline.embedded.log import LogView
from timeline.embedded.transaction import Transaction
from timeline.entry import Entry, Fields
from timeline.errors import TimelineError
from timeline.form import compiled
from timeline.formats.manifest import Manifest
from timeline.lsm.log import Change, LogCommit
from timeline.options import Options

__all__ = [
    "Change",
    "Database",
    "Entry",
    "Fields",
    "LogCommit",
    "LogView",
    "Manifest",
    "Options",
    "TimelineError",
    "TimelineHandle",
    "Transaction",
    "compiled",
    "open",
    "restore",
]
