"""The process `timeline`: Ctrl-C ends it without a word while it loads, and later as its verbs say.

Rule: nothing is imported before SIGINT is seen to, since most of a short call is loading. Nor is
`signal`, which is written in Python and makes enumerations of what `_signal` has built in.
"""

import _signal as signal  # type: ignore[import-not-found]  # typeshed does not list it

signal.signal(signal.SIGINT, signal.SIG_DFL)

from .main import main  # noqa: E402  the rule


def run() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()


if __name__ == "__main__":
    run()
