"""Presence: which devices have a subscription or a blocked sync open now.

Rule: in memory only, counted, and gone with the process. Whoever calls `arrive` calls `depart`.
"""

from __future__ import annotations


class Presence:
    def __init__(self) -> None:
        self._open: dict[bytes, dict[bytes, int]] = {}

    def arrive(self, user: bytes, device: bytes) -> None:
        devices = self._open.setdefault(user, {})
        devices[device] = devices.get(device, 0) + 1

    def depart(self, user: bytes, device: bytes) -> None:
        devices = self._open.get(user)
        if devices is None or device not in devices:
            return
        devices[device] -= 1
        if not devices[device]:
            del devices[device]
        if not devices:
            del self._open[user]

    def is_online(self, user: bytes, device: bytes | None = None) -> bool:
        """Whether any device of the user, or the one named, is online."""
        devices = self._open.get(user, {})
        return bool(devices) if device is None else device in devices
