"""Open files: for how many clients they suffice, and when only the reserved ones are left.

Rule: the system gives the lowest free number, so the number of a new descriptor says how full the
table is. A client never gets one of the last `SPARE`. Without them RocksDB could not begin a file,
and writing would stop for everybody.
"""

from __future__ import annotations

import resource
from typing import Final

from timeline.storage.tuning import table_files

SPARE: Final = 48
# Files of the daemon itself: the log, what is being sealed and merged, the index, backups, sockets,
# readers of metrics, and the spare ones.
_OWN: Final = 128


def provide(clients: int) -> tuple[int, int]:
    """Let the process open as many files as so many clients need, as far as the system allows it.
    Returns for how many clients that is enough (0 or less: for none), and how many files there may
    be.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = clients + _OWN + table_files(resource.RLIM_INFINITY)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return clients, wanted
    return min(clients, soft - _OWN - table_files(soft)), soft


def is_spare(descriptor: int) -> bool:
    """Whether a descriptor is one of the last `SPARE`."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft != resource.RLIM_INFINITY and descriptor >= soft - SPARE
