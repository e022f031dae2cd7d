"""What tests of waiting share."""

from __future__ import annotations

import pytest

from timeline.messaging.delivery.syncing import Reader

SECONDS = 20.0


class Reads:
    """Counts the reads of in-boxes, by user."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        reader = Reader.page

        def page(*args: object) -> object:
            self.count += 1
            return reader(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(Reader, "page", page)
