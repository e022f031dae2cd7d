"""The process `timeline`: Ctrl-C ends it without a word while it loads, and later as its verbs say.

Rule: nothing is imported before SIGINT is seen to, since most of a short call is loading. Nor is
`signal`, which is written in Python and makes enumerations of what `_signal` has built in. What the
terminal cannot show is escaped, never a reason to fail.
"""

import _signal as signal  # type: ignore[import-not-found]  # typeshed does not list it

if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import sys
from io import TextIOWrapper

from .main import main
from .signals import heed


def run() -> None:
    heed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # none when it was closed
            stream.reconfigure(errors="backslashreplace")
    main()


if __name__ == "__main__":
    run()
