"""What a handler is given of the client that calls it: its state, its connection, and the service.

Rule: besides the client's state it has only references to what is kept elsewhere.
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
