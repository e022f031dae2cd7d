"""Bad input: a typed error of the contract, and nothing changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import pytest

from tests.engine.adapters import Refused
from tests.messaging.doors.door import Door
from tests.messaging.doors.embedded import EmbeddedDoor
from tests.messaging.doors.wire import WireDoor


@pytest.fixture(scope="module", params=[EmbeddedDoor, WireDoor], ids=["embedded", "wire"])
def door(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Door]:
    """Ann (admin), bob (member), cat (reader), dan (left), eve (never there), one message each."""
    door: Door = request.param(tmp_path_factory.mktemp("refusals") / "store")
    door.create("team", "ann", ["bob", "cat", "dan"])
    door.create("news", "ann", ["bob"], kind="channel")
    door.direct("ann", "bob")
    door.set_user_meta("eve", {"name": "Eve"})
    door.send("team", "ann", "1")
    door.send("team", "bob", "2")
    door.send("team", "bob", "3")
    door.recall("team", 3, "bob")
    door.set_role("team", "cat", "reader", "ann")
    door.leave("team", ["dan"], "dan")
    door.send("team", "ann", "4")
    yield door
    door.close()


Act = Callable[[Door], object]
DIRECT: Final = "@direct:3:ann:bob"

REFUSED: Final[dict[str, tuple[str, Act]]] = {
    # unknown, or not one's own: no difference
    "send to no conversation": ("NOPERM", lambda d: d.send("none", "ann", "x")),
    "send by a stranger": ("NOPERM", lambda d: d.send("team", "eve", "x")),
    "send by nobody": ("NOPERM", lambda d: d.send("team", "nobody", "x")),
    "send by who left": ("NOPERM", lambda d: d.send("team", "dan", "x")),
    "send by a reader": ("NOPERM", lambda d: d.send("team", "cat", "x")),
    "send to a channel by a member": ("NOPERM", lambda d: d.send("news", "bob", "x")),
    "send by the application": ("ERR", lambda d: d.send("team", "-", "x")),
    "history of no conversation": ("NOPERM", lambda d: d.history("none", "ann")),
    "history by a stranger": ("NOPERM", lambda d: d.history("team", "eve")),
    "events by a stranger": ("NOPERM", lambda d: d.events("team", "eve")),
    "info by a stranger": ("NOPERM", lambda d: d.info("team", "eve")),
    "info of no conversation": ("NOPERM", lambda d: d.info("none")),
    "members by who left": ("NOPERM", lambda d: d.members("team", "dan")),
    "receipts by a stranger": ("NOPERM", lambda d: d.receipts("team", 1, "eve")),
    "read by a stranger": ("NOPERM", lambda d: d.read("eve", "team", 1)),
    "hide by a stranger": ("NOPERM", lambda d: d.hide("eve", "team", 1)),
    "settings by a stranger": ("NOPERM", lambda d: d.set("eve", "team", {"a": "b"})),
    # rights
    "recall by another member": ("NOPERM", lambda d: d.recall("team", 1, "bob")),
    "recall by a stranger": ("NOPERM", lambda d: d.recall("team", 1, "eve")),
    "recall by who left": ("NOPERM", lambda d: d.recall("team", 1, "dan")),
    "edit by another": ("NOPERM", lambda d: d.edit("team", 2, "x", "ann")),
    "edit by a reader": ("NOPERM", lambda d: d.edit("team", 1, "x", "cat")),
    "remove by a member": ("NOPERM", lambda d: d.leave("team", ["ann"], "bob")),
    "add by a reader": ("NOPERM", lambda d: d.join("team", ["eve"], "cat")),
    "join by oneself": ("NOPERM", lambda d: d.join("team", ["eve"], "eve")),
    "role by a member": ("NOPERM", lambda d: d.set_role("team", "bob", "admin", "bob")),
    "describe by a member": ("NOPERM", lambda d: d.set_meta("team", {"a": "b"}, "bob")),
    "delete by a member": ("NOPERM", lambda d: d.delete("team", "bob")),
    "join a direct conversation": ("NOPERM", lambda d: d.join(DIRECT, ["eve"])),
    "leave a direct conversation": ("NOPERM", lambda d: d.leave(DIRECT, ["bob"], "bob")),
    # what is not there
    "edit beyond the head": ("NOTFOUND", lambda d: d.edit("team", 99, "x", "ann")),
    "edit what was recalled": ("NOTFOUND", lambda d: d.edit("team", 3, "x", "bob")),
    "recall beyond the head": ("NOTFOUND", lambda d: d.recall("team", 99, "ann")),
    "hide beyond the head": ("NOTFOUND", lambda d: d.hide("bob", "team", 1, 99)),
    "hide what is not his": ("NOTFOUND", lambda d: d.hide("dan", "team", 4)),
    "receipts beyond the head": ("NOTFOUND", lambda d: d.receipts("team", 99, "ann")),
    "role of no member": ("NOTFOUND", lambda d: d.set_role("team", "eve", "admin", "ann")),
    "role of who left": ("NOTFOUND", lambda d: d.set_role("team", "dan", "admin", "ann")),
    "sync of no user": ("NOTFOUND", lambda d: d.sync("nobody", "phone")),
    "list of no user": ("NOTFOUND", lambda d: d.conversations("nobody")),
    "unread of no user": ("NOTFOUND", lambda d: d.unread("nobody")),
    "devices of no user": ("NOTFOUND", lambda d: d.devices("nobody")),
    "ack of no user": ("NOTFOUND", lambda d: d.ack("nobody", "phone", "1-0-0")),
    "forget no device": ("NOTFOUND", lambda d: d.forget_device("bob", "none")),
    # positions and tokens
    "sync after no cursor": ("ERR", lambda d: d.sync("bob", "phone", after="rubbish")),
    "sync after a short cursor": ("ERR", lambda d: d.sync("bob", "phone", after="1-2")),
    "ack of no cursor": ("ERR", lambda d: d.ack("bob", "phone", "1-1")),
    "ack of another epoch": ("ERR", lambda d: d.ack("bob", "phone", "1-1-0")),
    "list after no token": ("ERR", lambda d: d.conversations("bob", "rubbish")),
    "members after no token": ("ERR", lambda d: d.members("team", "ann", "rubbish")),
    "events after no token": ("ERR", lambda d: d.events("team", "ann", "rubbish")),
    "events after the future": ("ERR", lambda d: d.events("team", "ann", "99")),
    # fields and ids
    "a field that is the store's": ("ERR", lambda d: d.send("team", "ann", {"@from": "bob"})),
    "no field": ("ERR", lambda d: d.send("team", "ann", {})),
    "a value not UTF-8": ("ERR", lambda d: d.send("team", "ann", {"text": b"\xff"})),
    "an edit not UTF-8": ("ERR", lambda d: d.edit("team", 1, {"text": b"\xff"}, "ann")),
    "a long field": ("TOOLARGE", lambda d: d.send("team", "ann", {"x" * 256: ""})),
    "a long message": ("TOOLARGE", lambda d: d.send("team", "ann", "x" * (2**20 + 1))),
    "too many fields": (
        "TOOLARGE",
        lambda d: d.send("team", "ann", {str(n): "" for n in range(257)}),
    ),
    "too many mentions": (
        "TOOLARGE",
        lambda d: d.send("team", "ann", "x", mentions=[str(n) for n in range(65)]),
    ),
    "a mention of no name": ("ERR", lambda d: d.send("team", "ann", "x", mentions=["@all"])),
    "an empty key": ("ERR", lambda d: d.send("team", "ann", "x", key="")),
    "a long key": ("ERR", lambda d: d.send("team", "ann", "x", key="k" * 256)),
    "a setting that is the store's": ("ERR", lambda d: d.set("bob", "team", {"@read": "1"})),
    "a pin of two": ("ERR", lambda d: d.set("bob", "team", {"@pin": "2"})),
    "metadata that is the store's": ("ERR", lambda d: d.set_meta("team", {"@a": "b"}, "ann")),
    "a device's field of the store's": ("ERR", lambda d: d.set_device("bob", "p", {"@a": "b"})),
    "a device with a colon": ("ERR", lambda d: d.sync("bob", "a:b")),
    "a user called -": ("ERR", lambda d: d.join("team", ["-"])),
    "a user that begins with @": ("ERR", lambda d: d.join("team", ["@x"])),
    "a user with a control character": ("ERR", lambda d: d.join("team", ["a\nb"])),
    "a user of no length": ("ERR", lambda d: d.join("team", ["fay", ""])),
    "a user too long": ("ERR", lambda d: d.create("room", "-", ["x" * 256])),
    "a conversation that begins with @": ("ERR", lambda d: d.create("@room", "ann")),
    "a conversation too long": ("ERR", lambda d: d.create("x" * 256, "ann")),
    "a conversation with oneself": ("ERR", lambda d: d.direct("ann", "ann")),
    "a role of no name": ("ERR", lambda d: d.set_role("team", "bob", "king", "ann")),
    "a page of nothing": ("ERR", lambda d: d.sync("bob", "phone", limit=0)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_and_nothing_changed(door: Door, what: str) -> None:
    code, act = REFUSED[what]
    before = door.lsn()
    with pytest.raises(Refused, match=rf"^{code} "):
        act(door)
    assert door.lsn() == before


def test_unknown_and_foreign_are_not_told_apart(door: Door) -> None:
    texts = set()
    for name in ("none", "news"):
        with pytest.raises(Refused) as refusal:
            door.history(name, "cat")
        texts.add(str(refusal.value))
    assert len(texts) == 1


def test_a_binary_conversation_takes_any_bytes(door: Door) -> None:
    door.create("blobs", "ann", ["bob"], binary=True)
    door.send("blobs", "ann", {"data": bytes(range(256))})
    (message,) = door.history("blobs", "bob")
    assert message.fields[-1] == (b"data", bytes(range(256)))
