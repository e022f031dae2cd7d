"""BACKUP: a consistent copy of the store, made while the daemon serves.

Rule: a client can name no path outside the directory of the option `backup_directory`. Without that
option BACKUP is refused. Another thread makes the copy.
"""

from __future__ import annotations

import os
from pathlib import Path

from timeline.admin.backup import back_up
from timeline.admin.progress import Progress
from timeline.engine.view import View
from timeline.errors import NoPermissionError, UsageError

from ...registry.command import Arguments
from ...service.session import Session
from ...wire import replies
from ..declaring import read


@read(
    "BACKUP",
    "path",
    "Backs the store up to a new directory below backup_directory, and answers what is in it.",
    group="server",
    complexity="O(N) for the bytes stored",
)
def backup(session: Session, args: Arguments, view: View) -> None:
    if session.executing:
        raise UsageError("BACKUP is not part of a commit: call it outside MULTI")
    service, resp = session.service, session.resp
    target = below(service.configuration.settings.backup_directory, args[1])

    def work(tell: Progress) -> bytes:
        manifest = back_up(service.engine, target, tell)
        return replies.encode(
            {
                "path": os.fsencode(target),
                "lsn": manifest.lsn,
                "bytes": manifest.size,
                "files": len(manifest.files),
            },
            resp,
        )

    service.threads.detach_job(session.client, "BACKUP", work)


def below(directory: str, path: bytes) -> Path:
    """`path` below `directory`, links followed. Raises `NoPermissionError` if it leads out."""
    if not directory:
        raise NoPermissionError(
            "backups are not allowed here: start the daemon with --backup-directory DIR"
        )
    root = Path(directory).resolve()
    try:
        target = (root / os.fsdecode(path)).resolve()
    except (OSError, ValueError):
        raise UsageError("the path of a backup is text without a zero byte") from None
    if root not in target.parents:
        raise NoPermissionError(f"a backup lies below {root}: name a path inside it")
    return target
