"""Who may do what, as a table: every action, by every role, in every kind of conversation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Final

import pytest

from tests.engine.adapters import Refused
from tests.messaging.doors.door import Door
from tests.messaging.doors.embedded import EmbeddedDoor

# action → who may, by kind of conversation: a(dmin), m(ember), r(eader), n(one: who left), and
# - (the application itself)
TABLE: Final = {
    "see": {"group": "amrn-", "channel": "amrn-", "direct": "m-"},
    "see members": {"group": "amr-", "channel": "amr-", "direct": "m-"},
    "send": {"group": "am", "channel": "a", "direct": "m"},
    "edit one's own": {"group": "am-", "channel": "a-", "direct": "m-"},
    "recall one's own": {"group": "amr-", "channel": "amr-", "direct": "m-"},
    "recall another's": {"group": "a-", "channel": "a-", "direct": "-"},
    "leave": {"group": "amr", "channel": "amr", "direct": ""},
    "add": {"group": "am-", "channel": "a-", "direct": ""},
    "remove": {"group": "a-", "channel": "a-", "direct": ""},
    "give roles": {"group": "a-", "channel": "a-", "direct": ""},
    "describe": {"group": "a-", "channel": "a-", "direct": "m-"},
    "delete": {"group": "a-", "channel": "a-", "direct": "-"},
}
ROLES: Final = {"a": "admin", "m": "member", "r": "reader", "n": "none", "-": "-"}


class Scene:
    """A conversation in which `actor` has a role and message 1 is his, 2 another's."""

    def __init__(self, door: Door, number: int, kind: str, role: str) -> None:
        self.door = door
        self.actor = "-" if role == "-" else f"actor{number}"
        self.other = f"other{number}"
        self.new = f"new{number}"
        who = f"actor{number}"
        if kind == "direct":
            self.name = door.direct(who, self.other)
        else:
            self.name = f"{kind}{number}"
            door.create(self.name, "-", [who, self.other], kind=kind)
            door.set_role(self.name, who, "admin")
            door.set_role(self.name, self.other, "admin")
        door.send(self.name, who, "1")
        door.send(self.name, self.other, "2")
        if kind != "direct":
            door.set_role(self.name, self.other, "member")
            if role == "none":
                door.leave(self.name, [who])
            elif role != "-":
                door.set_role(self.name, who, role)


DO: Final[dict[str, Callable[[Scene], object]]] = {
    "see": lambda s: (s.door.history(s.name, s.actor), s.door.info(s.name, s.actor)),
    "see members": lambda s: (
        s.door.members(s.name, s.actor),
        s.door.receipts(s.name, 1, s.actor),
    ),
    "send": lambda s: s.door.send(s.name, s.actor, "x"),
    "edit one's own": lambda s: s.door.edit(s.name, 1, "x", s.actor),
    "recall one's own": lambda s: s.door.recall(s.name, 1, s.actor),
    "recall another's": lambda s: s.door.recall(s.name, 2, s.actor),
    "leave": lambda s: s.door.leave(s.name, [s.actor], s.actor),
    "add": lambda s: s.door.join(s.name, [s.new], s.actor),
    "remove": lambda s: s.door.leave(s.name, [s.other], s.actor),
    "give roles": lambda s: s.door.set_role(s.name, s.other, "reader", s.actor),
    "describe": lambda s: s.door.set_meta(s.name, {"title": "x"}, s.actor),
    "delete": lambda s: s.door.delete(s.name, s.actor),
}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    opened = EmbeddedDoor(tmp_path_factory.mktemp("roles") / "store")
    yield opened
    opened.close()


_numbers = count(1)


@pytest.mark.parametrize("kind", ["group", "channel", "direct"])
@pytest.mark.parametrize("action", TABLE)
def test_the_table_holds(door: Door, action: str, kind: str) -> None:
    for letter, role in ROLES.items():
        if kind == "direct" and letter in "arn":  # its two members are members, for ever
            continue
        scene = Scene(door, next(_numbers), kind, role)
        before = door.lsn()
        if letter in TABLE[action][kind]:
            DO[action](scene)
        else:
            with pytest.raises(Refused, match=r"^(NOPERM|ERR) "):
                DO[action](scene)
            assert door.lsn() == before, f"{role} in a {kind}"
