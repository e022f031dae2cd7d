"""How far long work has come.

Rule: the work calls its listener now and then, without a lock held, with how much is done and how
much there is in all. An exception from the listener ends the work there, as Ctrl-C would.
"""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]


def ignore(done: int, total: int) -> None:
    """A listener for work that nobody follows."""
