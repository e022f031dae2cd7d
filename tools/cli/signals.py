"""Signals that end a verb: Ctrl-C, SIGTERM, and the terminal that is gone.

Rule: each is an exception where the verb is, so that whatever it made for its own use goes with it;
a second one ends the process at once. One that was ignored when the process began, as below
`nohup`, stays so. Nothing else of this package is imported here, since it is early.
"""

from __future__ import annotations

import signal
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal asked for the end. `status` is what a shell says of a process that it ended."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


def heed() -> None:
    """From now on signals raise `Stopped`."""
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, _frame: FrameType | None) -> None:
    for each in _ENDING:
        if signal.getsignal(each) is _stop:
            signal.signal(each, signal.SIG_DFL)
    raise Stopped(number)
