"""What tests of waiting share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from timeline.messaging.delivery.syncing import Reader

SECONDS = 20.0


class Reads:
    """Counts the reads of in-boxes, by user."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        for name in ("sync", "page"):
            monkeypatch.setattr(Reader, name, self._counted(getattr(Reader, name)))

    def _counted(self, read: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: object) -> Any:  # noqa: ANN401
            self.count += 1
            return read(*args)

        return counted
