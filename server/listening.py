"""Where the daemon listens: its sockets, bound before anything else is done.

Rule: a place that cannot be had is known before a store is made or opened. Bound is not listening:
who connects before the daemon serves is refused rather than kept waiting.
"""

from __future__ import annotations

import errno
import socket


def bind(host: str, port: int, option: str = "port") -> list[socket.socket]:
    """A socket for each address of `host`, all of one port. Raises `OSError`, which says why;
    `option` is what chooses another.
    """
    bound: list[socket.socket] = []
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        taken = bound[0].getsockname()[1] if bound else port  # of 0, one port for all of them
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
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # though an old one lingers
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
