"""The daemon: opens the store, listens, says that it is ready, stops when asked.

Rule: everything acknowledged is durable before the process ends, however it was asked to: on
SIGTERM, SIGINT and SHUTDOWN it stops accepting, finishes what it received, flushes, and closes the
store.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import uvloop

from timeline.engine.engine import Engine
from timeline.engine.store.directory import ROCKS, prepare_directory
from timeline.errors import StorageError, TimelineError, UsageError
from timeline.storage.descriptors import keep_standard
from timeline.storage.files import OTHERS
from timeline.storage.probe import SLOW_FSYNC_SECONDS, fsync_seconds

from .clients.idle import Idle
from .config.config import Configuration, load
from .connection.connection import Connection
from .logs.logger import Logger, configure
from .logs.outlet import Outlet
from .monitoring.monitor import Monitor
from .monitoring.notify import Notifier
from .service.service import Service
from .sockets.descriptors import provide
from .sockets.listener import Listener, bind
from .sockets.unixsocket import UnixSocket

_GRACE = 5.0  # seconds for clients to take their last replies
_LAST_WORDS = 1.0  # seconds for a reader of the log, at the end
# Signals of a closed terminal and of logrotate, which do not end the daemon.
_IGNORED = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the daemon until it is stopped; returns the exit status."""
    _mend_streams()
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    try:
        configuration = load(sys.argv[1:] if argv is None else argv)
    except UsageError as problem:
        print(f"timelined: {problem}", file=sys.stderr)  # noqa: T201  before logs, and for people
        return 2
    os.umask(OTHERS)  # what it makes is its user's alone
    log, outlet = configure(configuration.settings.log_level, configuration.settings.log_format)
    try:
        return uvloop.run(serve(allow_files(configuration, log), log))
    except (TimelineError, OSError) as problem:
        if configuration.settings.log_format == "json":
            log.error("failed", problem=str(problem))  # noqa: TRY400  for people, without a trace
        else:
            outlet.write(f"timelined: {problem}\n")
        return 1
    finally:
        outlet.drain(_LAST_WORDS)


def _mend_streams() -> None:
    """Opens standard streams that are closed, to nowhere. Otherwise files and sockets would get
    their numbers, and libuv ends the process when one of these is not what it expects.
    """
    keep_standard()
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  for the whole process
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def allow_files(configuration: Configuration, log: Logger) -> Configuration:
    """Lets the process have as many files and sockets as it may need; with fewer, fewer clients.
    Raises `StorageError` when there are not even enough for one.
    """
    settings = configuration.settings
    room, limit = provide(settings.maxclients)
    if room < 1:
        raise StorageError(
            f"{limit} open files are too few for a store and a client, {1 - room} more are needed: "
            "raise LimitNOFILE or ulimit -n"
        )
    if room < settings.maxclients:
        log.warning(
            "maxclients is lowered to what the open files allow: raise LimitNOFILE or ulimit -n",
            maxclients=room,
            limit=limit,
        )
    return replace(configuration, settings=replace(settings, maxclients=room))


def open_engine(configuration: Configuration, log: Logger) -> Engine:
    """Opens the store, with fsync where the options or the disk say."""
    settings = configuration.settings
    path = Path(settings.data)
    prepare_directory(path, create=configuration.engine.create)
    if path.stat().st_mode & OTHERS and (path / ROCKS).stat().st_mode & OTHERS:
        log.warning("others may read the store: chmod -R go= its directory", path=str(path))
    where = settings.fsync
    if where == "auto":
        try:
            seconds = fsync_seconds(path)
        except OSError as problem:
            raise StorageError(_unwritable(path, problem)) from problem
        where = "inline" if seconds < SLOW_FSYNC_SECONDS else "thread"
        log.info("fsync measured", microseconds=round(seconds * 1e6), where=where)
    begin = time.perf_counter()
    engine = Engine(
        path, replace(configuration.engine, fsync="inline" if where == "inline" else "thread")
    )
    log.info(
        "store opened",
        path=str(path),
        seconds=round(time.perf_counter() - begin, 3),
        lsn=engine.applied,
    )
    return engine


def _unwritable(path: Path, problem: OSError) -> str:
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {path} is full: free some space and start again"
    return f"{path} cannot be written to ({problem.strerror}): mend the disk, or choose another"


async def serve(configuration: Configuration, log: Logger) -> int:
    """Opens the store and serves it until asked to stop."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _asked, number, stopping, log)
    for number in _IGNORED:
        loop.add_signal_handler(number, _ignore, number, log)
    settings = configuration.settings
    sockets = bind(settings.host, settings.port) if settings.port >= 0 else []
    port = sockets[0].getsockname()[1] if sockets else 0
    local: UnixSocket | None = None
    monitor, notifier = Monitor(log), Notifier(loop)
    try:
        if settings.socket:
            local = UnixSocket(Path(settings.socket), int(settings.socket_mode, 8))
            sockets.append(local.socket)
        if settings.metrics_port >= 0:
            watched = bind(settings.metrics_host, settings.metrics_port, "metrics-port")
            monitor.listen(watched)
        # On a thread: opening after a crash may take its time, and the monitor answers meanwhile.
        engine = await loop.run_in_executor(None, open_engine, configuration, log)
        try:
            service = Service(engine, configuration, loop, log, stopping.set, port, monitor.port)
            if not stopping.is_set():
                await _serve(service, sockets, stopping, monitor, notifier)
        finally:
            engine.close()
    finally:
        monitor.close()
        notifier.close()
        for each in sockets:
            each.close()
        if local is not None:
            local.close()
    log.info("stopped", lsn=engine.applied)
    return 0


async def _serve(
    service: Service,
    sockets: list[socket.socket],
    stopping: asyncio.Event,
    monitor: Monitor,
    notifier: Notifier,
) -> None:
    """Serves clients until asked to stop, and then sends them the replies they wait for."""
    listener = Listener(
        service.loop,
        service.log,
        service.room,
        service.reject,
        lambda: service.tunables.tcp_keepalive,
    )
    for each in sockets:
        listener.listen(each, service.configuration.settings.backlog, lambda: Connection(service))
    if not service.engine.threaded:
        service.pipeline.work()
    _settle_memory()
    _tell_ready(service, sockets, monitor.port)
    monitor.service = service
    notifier.ready()
    idle = Idle(service.loop, service.clients, lambda: service.tunables.timeout)
    await stopping.wait()
    idle.stop()
    monitor.stopping = True
    notifier.stopping()
    listener.close()
    await _drain(service)


def _tell_ready(service: Service, sockets: list[socket.socket], metrics_port: int | None) -> None:
    """Says where it serves, a line for the port and one for the Unix socket."""
    local = service.configuration.settings.socket
    said = []
    if service.port:
        host = sockets[0].getsockname()[0]
        said.append(f"{host}:{service.port}")
        service.log.info("ready", host=host, port=service.port, metrics_port=metrics_port)
    if local:
        said.append(local)
        service.log.info("ready", socket=local, metrics_port=metrics_port)
    outlet = Outlet(sys.stdout)
    for place in said:
        outlet.write(f"ready on {place}\n")


def _asked(number: int, stopping: asyncio.Event, log: Logger) -> None:
    log.info("stopping", signal=signal.Signals(number).name)
    stopping.set()


def _ignore(number: int, log: Logger) -> None:
    log.info("ignored", signal=signal.Signals(number).name)


def _settle_memory() -> None:
    """What is loaded now stays: the garbage collector need not look at it again, nor look often."""
    gc.collect()
    # By default the loop would wait five milliseconds for its turn while the indexer's thread runs.
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.set_threshold(10_000, 50, 1_000)


async def _drain(service: Service) -> None:
    """Lets every client have the replies to what was received, for `_GRACE` seconds at most."""
    for connection in list(service.clients.values()):
        connection.finish()
    deadline = service.loop.time() + _GRACE
    service.emptied.clear()
    while service.clients and service.loop.time() < deadline:
        try:
            await asyncio.wait_for(service.emptied.wait(), deadline - service.loop.time())
        except TimeoutError:
            break
    service.pipeline.stop()
    for connection in list(service.clients.values()):
        connection.disconnect("the daemon stops")
