"""Where the daemon listens, and which clients it lets in.

Rule: sockets are bound before anything else is done. So the daemon does not make or open a store
when it cannot listen. It listens once it serves: a client that connects earlier is refused, and
does not wait.

A client beyond the limit gets one line and is closed before the next is accepted. So a crowd never
takes the descriptors that the store needs. When there is no descriptor even for that, clients wait.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ..logs.logger import Logger
from .descriptors import is_spare

_BURST: Final = 64  # connections accepted in one turn of the loop
_LONGEST: Final = 32_767  # seconds between questions, the most that Linux takes
_REST: Final = 0.1  # seconds until accepting is tried again, without a descriptor for it


class Listener:
    """Accepts connections. `room` says how many more there may be. `reject` gives the line that a
    client beyond that is sent. `keepalive` gives the seconds of silence after which a peer is asked
    whether it is there, 0 for never.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        log: Logger,
        room: Callable[[], int],
        reject: Callable[[], bytes],
        keepalive: Callable[[], int] = lambda: 0,
    ) -> None:
        self._loop = loop
        self._log = log
        self._room = room
        self._reject = reject
        self._keepalive = keepalive
        self._sockets: list[socket.socket] = []
        self._coming: set[asyncio.Task[object]] = set()  # accepted, not yet among the clients
        self._resting: dict[socket.socket, asyncio.TimerHandle] = {}
        self._short = False  # of descriptors; the log has said so

    def listen(
        self, bound: socket.socket, backlog: int, make: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        """Accept what connects to `bound`, each with a protocol of its own."""
        bound.listen(backlog)
        bound.setblocking(False)
        self._sockets.append(bound)
        self._loop.add_reader(bound, self._accept, bound, make)

    def close(self) -> None:
        """Accept no more; what was accepted stays."""
        for each in self._sockets:
            self._loop.remove_reader(each)
            each.close()
        for timer in self._resting.values():
            timer.cancel()

    def _accept(self, bound: socket.socket, make: Callable[[], asyncio.BaseProtocol]) -> None:
        for _ in range(_BURST):
            try:
                link, _ = bound.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as problem:  # EMFILE, ENFILE, ENOBUFS, ENOMEM
                self._rest(problem, bound, make)
                return
            spare = is_spare(link.fileno())
            if spare or self._room() <= len(self._coming):
                self._refuse(link, spare=spare)
            else:
                self._short = False
                self._admit(link, make)

    def _admit(self, link: socket.socket, make: Callable[[], asyncio.BaseProtocol]) -> None:
        link.setblocking(False)
        if link.family != socket.AF_UNIX:
            _keep_alive(link, self._keepalive())
        task: asyncio.Task[object] = self._loop.create_task(_serve(self._loop, link, make))
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)

    def _refuse(self, link: socket.socket, *, spare: bool) -> None:
        with link, suppress(OSError):
            link.setblocking(False)
            link.send(self._reject())
        if spare:
            self._tell("the last open files are kept for the store")

    def _rest(
        self, problem: OSError, bound: socket.socket, make: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        """Look again soon: those that wait would otherwise keep the loop busy."""
        self._tell(str(problem.strerror))
        self._loop.remove_reader(bound)
        self._resting[bound] = self._loop.call_later(_REST, self._go_on, bound, make)

    def _go_on(self, bound: socket.socket, make: Callable[[], asyncio.BaseProtocol]) -> None:
        del self._resting[bound]
        self._loop.add_reader(bound, self._accept, bound, make)

    def _tell(self, why: str) -> None:
        """Say it once, until somebody is let in again."""
        if not self._short:
            self._short = True
            self._log.warning(
                "connections are not accepted: raise LimitNOFILE or ulimit -n", reason=why
            )


def _keep_alive(link: socket.socket, seconds: int) -> None:
    """Have the system close it once its peer is gone without a word. The peer is asked first after
    `seconds` of silence, then three times in as long again, as Redis does it.
    """
    if not seconds:
        return
    with suppress(OSError):  # it has gone already
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            ("TCP_KEEPIDLE", min(seconds, _LONGEST)),
            ("TCP_KEEPINTVL", min(max(seconds // 3, 1), _LONGEST)),
            ("TCP_KEEPCNT", 3),
        ):
            if hasattr(socket, option):  # where the system has it
                link.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


async def _serve(
    loop: asyncio.AbstractEventLoop, link: socket.socket, make: Callable[[], asyncio.BaseProtocol]
) -> None:
    try:
        await loop.connect_accepted_socket(make, link)
    except OSError:  # it has gone meanwhile
        link.close()


def bind(host: str, port: int, option: str = "port") -> list[socket.socket]:
    """A socket for each address of `host`, all of one port. Raises `OSError`, which says why;
    `option` is what chooses another.
    """
    bound: list[socket.socket] = []
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        taken = (
            bound[0].getsockname()[1] if bound else port
        )  # for port 0: the same port for all of them
        try:
            bound.append(_bind(family, kind, protocol, (address[0], taken)))
        except OSError as problem:
            if problem.errno == errno.EADDRNOTAVAIL:  # `localhost` where IPv6 is switched off
                continue
            for each in bound:
                each.close()
            raise OSError(_why(host, taken, option, problem)) from problem
    if not bound:
        chosen = option.replace("port", "host")
        raise OSError(f"{host} is no address of this machine: choose another with --{chosen}")
    return bound


def _bind(family: int, kind: int, protocol: int, address: tuple[str | int, int]) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # also while an old connection lingers
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made


def _why(host: str, port: int, option: str, problem: OSError) -> str:
    if problem.errno == errno.EADDRINUSE:
        return (
            f"port {port} of {host} is taken: stop what listens there, or choose another with "
            f"--{option} (0 picks a free one)"
        )
    if problem.errno == errno.EACCES:
        return f"no permission to listen on port {port}: choose one above 1023 with --{option}"
    return f"cannot listen on port {port} of {host}: {problem.strerror}"
