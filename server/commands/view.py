"""What a command of conversations or users reads."""

from __future__ import annotations

from typing import cast

from timeline.engine.engine import Engine
from timeline.engine.view import View

from ..clients.view import View as Readable
from ..service.session import Session


def view_of(session: Session, view: Readable) -> View:
    """What a read sees: what was applied or, in a transaction that writes, its draft."""
    return session.service.messages.view if isinstance(view, Engine) else cast(View, view)
