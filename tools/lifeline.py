"""A daemon that does not outlive the process that started it.

`python -m timeline_tools.lifeline OPTION …` is `timelined OPTION …`, but stops when its standard
input ends.

Rule: standard input is a pipe to the starter. The system closes it however the starter ends, also
after SIGKILL. Then the daemon gets a SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from timeline_server import daemon


def main() -> int:
    threading.Thread(target=_watch, name="lifeline", daemon=True).start()
    status: int = daemon.main()
    return status


def _watch() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
