"""How far long work is, told while it is done.

Rule: whoever does the work tells it now and then, without a lock held, how much is done and how
much there is; what the listener raises ends the work there, as Ctrl-C would.
"""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]


def unheard(done: int, total: int) -> None:
    """Nobody listens."""
