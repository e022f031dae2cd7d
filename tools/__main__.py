"""The process `timeline`: Ctrl-C ends it without a word while it loads, and later as its verbs say.

Rule: nothing is imported before SIGINT is seen to, since most of a short call is loading, and
nothing that only some calls need. Nor is `signal`, which is written in Python and makes
enumerations of what `_signal` has built in. What the terminal cannot show is escaped, never a
reason to fail.
"""

import _signal as signal  # type: ignore[import-not-found]  # typeshed does not list it

if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import os
import sys
from importlib import import_module
from io import TextIOWrapper

import click

from .main import main


def run() -> None:
    os.umask(0o077)  # what it makes is its user's alone
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # none when it was closed
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_main())


def _main() -> str | int | None:
    """The status. What is left of the output is written before the interpreter would, which tells
    of a full disk in words of its own.
    """
    status: str | int | None = 0
    try:
        main()
    except SystemExit as end:
        status = end.code
    except OSError as error:  # of the output itself: a verb tells any other
        status = _refuse(error)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # whoever reads has enough
            status = status or _refuse(error)
    return status


def _refuse(error: OSError) -> int:
    console = import_module(
        ".cli.console", __package__
    )  # it brings the engine with it, seldom needed
    click.echo(f"Error: {console.told(error)}", err=True)
    return 1


if __name__ == "__main__":
    run()
