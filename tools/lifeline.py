"""A daemon that does not outlive whoever started it: `python -m timeline_tools.lifeline OPTION …`
is `timelined OPTION …`, and stops when its standard input ends.

Rule: standard input is a pipe that only its starter can write to. The system closes it however the
starter ends, also by a signal that none can heed, and then the daemon is asked to stop like by any
SIGTERM.
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
