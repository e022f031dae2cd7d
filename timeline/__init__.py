"""Timeline: an append-only storage engine for chat, notifications and feeds.

`open` a directory, get a `Database`; README.md has twenty lines that show the rest.
"""

from timeline.backup import restore
from timeline.database import (
    Database,
    open_database as open,  # noqa: A004  read as timeline.open
)
from timeline.entry import Entry, Fields
from timeline.errors import TimelineError
from timeline.formats.manifest import Manifest
from timeline.handle import TimelineHandle
from timeline.log import Change, LogCommit
from timeline.logview import LogView
from timeline.options import Options
from timeline.transaction import Transaction

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
    "open",
    "restore",
]
