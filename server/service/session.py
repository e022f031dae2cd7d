"""What a handler is given of the client that calls it: its state, its connection, and the service.

Rule: nothing is kept here that is not kept elsewhere already.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..clients.client import Client
from ..clients.state import ClientState
from .service import Service


@dataclass(slots=True, eq=False, kw_only=True)
class Session(ClientState):
    service: Service
    client: Client
