"""The process `timeline`, from its first instruction to its exit status.

Rule: SIGINT is set up before anything else is imported, since a short call spends most of its time
loading: Ctrl-C then ends it silently. So `_signal` is used here, and not `signal`, which is written
in Python and takes longer. Nothing is imported that only some calls need.

What the terminal cannot show is escaped; it is never a reason to fail.
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
    os.umask(0o077)  # only this user may read what it makes
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # none when it was closed
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_main())


def _main() -> str | int | None:
    """The exit status. The rest of the output is written here: if the interpreter did it at exit,
    it would report a full disk in its own words.
    """
    status: str | int | None = 0
    try:
        main()
    except SystemExit as end:
        status = end.code
    except OSError as error:  # of the output itself; verbs report all others
        status = _refuse(error)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # the reader has enough
            status = status or _refuse(error)
    return status


def _refuse(error: OSError) -> int:
    console = import_module(".cli.console", __package__)  # loads the engine, and is seldom needed
    click.echo(f"Error: {console.error_line(error)}", err=True)
    return 1


if __name__ == "__main__":
    run()
