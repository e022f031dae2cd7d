"""Signals that end a verb: Ctrl-C, SIGTERM, and SIGHUP when the terminal closes.

Rule: a signal raises an exception in the verb, so that the verb cleans up what it made. A second
signal ends the process immediately. A signal that was ignored when the process began, as under
`nohup`, stays ignored.
"""

from __future__ import annotations

import signal
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal asked the verb to stop. `status` is the exit status that shells expect for it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


def heed() -> None:
    """From now on, signals raise `Stopped`."""
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, _frame: FrameType | None) -> None:
    for each in _ENDING:
        if signal.getsignal(each) is _stop:
            signal.signal(each, signal.SIG_DFL)
    raise Stopped(number)
