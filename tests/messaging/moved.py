"""A random history of timelines, conversations and users, and all that a store then answers.

Rule: what two stores answer differs only in the epoch of their cursors, which is left out here.
"""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

from timeline import Database, TimelineError
from timeline.entry import Entry, Fields

USERS = [f"u{number}" for number in range(7)]
GROUPS = ["team", "all", "board", "bytes"]


def begin(db: Database) -> None:
    im = db.messaging
    im.create("team", "u0", members=USERS[:4])
    im.create("all", "u1", members=USERS, history="all")
    im.create("board", "u2", members=USERS[:5], kind="channel", meta={"title": "公告"})
    im.create("bytes", "u0", members=USERS[:2], binary=True)


def go_on(db: Database, chance: random.Random, steps: int) -> None:
    """Some `steps` of everything; what is refused is no part of the history."""
    for _ in range(steps):
        with suppress(TimelineError):
            _raw(db, chance) if chance.random() < 0.2 else _message(db, chance)


def _raw(db: Database, chance: random.Random) -> None:
    name = chance.choice([b"log:a", b"log:b", b"\xff\x00raw", "日志".encode()])
    handle = db.timeline(name)
    match chance.randrange(8):
        case 0:
            handle.trim(length=chance.randrange(1, 9))
        case 1:
            handle.delete(chance.randrange(1, handle.head + 2))
        case 2:
            handle.set_metadata([("owner", chance.choice(["ann", ""])), (b"\xfe", b"\x80")])
        case 3:
            handle.set_retention(length=chance.choice([0, 50]), age_ms=chance.choice([0, 10**9]))
        case 4:
            handle.append({"n": "gap"}, seq=handle.head + chance.randrange(1, 5))
        case 5 if chance.random() < 0.2:
            handle.drop()
        case 6 if handle.head:
            handle.replace(handle.head, {"n": "edited"})
        case _:
            value = bytes(chance.randrange(256) for _ in range(chance.randrange(20)))
            handle.append_many([[("n", value), ("", "")], [("n", "1"), ("n", "2")]])


def _message(db: Database, chance: random.Random) -> None:
    im = db.messaging
    user, other = chance.sample(USERS, 2)
    group = chance.choice([*GROUPS, im.direct(user, other) if chance.random() < 0.1 else "team"])
    seq = chance.randrange(1, im.info(group).head + 2)
    match chance.randrange(24):
        case 0:
            im.join(group, users=[user])
        case 1:
            im.leave(group, users=[user])
        case 2:
            im.set_role(group, "-", other, chance.choice(["admin", "member", "reader"]))
        case 3:
            im.edit(group, seq, user, {"text": "edited"})
        case 4:
            im.recall(group, seq, user)
        case 5:
            im.hide(user, group, seq)
        case 6:
            im.clear(user, group, seq // 2)
        case 7 | 8:
            im.read(user, group, seq)
        case 9:
            im.set(user, group, {"@pin": chance.choice("01"), "draft": "…"})
        case 10:
            im.set(user, group, {chance.choice(["@mute", "@listed"]): chance.choice("01")})
        case 11:
            page = im.sync(user, "phone", limit=chance.randrange(1, 20))
            im.ack(user, "phone", page.cursor)
        case 12:
            im.set_device(user, chance.choice(["phone", "pad"]), {"token": "t"})
        case 13:
            im.set_user_meta(user, {"name": user.upper()})
        case 14:
            im.set_meta(group, user, {"title": str(seq)})
        case 15 if chance.random() < 0.1:
            im.delete(group)
        case 16:
            im.send(group, user, {"text": "all"}, mention_all=True)
        case 17:
            im.send(group, user, {"text": "quiet"}, silent=True)
        case 18:
            im.send("bytes", user, {"raw": b"\xff\xfe"})
        case _:
            some = [other] if chance.random() < 0.3 else []
            im.send(group, user, {"text": str(seq)}, key=f"k{seq}", mentions=some)


def answers(db: Database) -> dict[Any, Any]:
    """Everything that can be asked."""
    epoch = db.engine.store.epoch
    found: dict[Any, Any] = {"head": db.log.head, "count": db.engine.view.count}
    for prefix in (b"", b"@"):
        for name in db.timelines(prefix):
            handle = db.timeline(name)
            found[name] = [list(handle.range()), handle.extent(), handle.metadata()]
            with db.engine.lock:
                timeline = db.engine.view.find(name)
                assert timeline is not None
                found[name].append((db.engine.view.retention(timeline), timeline.row))
    im = db.messaging
    conversations = [name[6:].decode() for name in db.timelines(b"@conv:")]
    for conversation in conversations:
        for ask in (im.info, im.meta, im.members, im.history, im.events):
            found[conversation, ask.__name__] = answer(ask, conversation)
        for seq in range(1, 40, 7):
            found[conversation, "receipts", seq] = answer(im.receipts, conversation, seq)
    for user in USERS:
        for each in (im.conversations, im.unread, im.devices, im.user_meta):
            found[user, each.__name__] = answer(each, user)
        after: str | None = f"{epoch}-1-0"
        pages = []
        while after:
            page = im.sync(user, "tv", after=after, limit=50)
            pages.append(page)
            after = page.cursor if page.more and not page.resync else None
        found[user, "sync"] = pages
        found[user, "sync from the position"] = answer(im.sync, user, "phone")
        for conversation in conversations:
            found[user, conversation] = [
                answer(im.history, conversation, user, reverse=True),
                answer(im.history, conversation, user),
                answer(im.unread, user, conversation),
            ]
    return {key: plain(value, epoch) for key, value in found.items()}


def answer(ask: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  any call of the API
    """What a call returns, or that it is refused, and why."""
    try:
        return ask(*arguments, **options)
    except TimelineError as error:
        return type(error).__name__, str(error)


def plain(value: Any, epoch: int) -> Any:  # noqa: ANN401  any answer
    """An answer as values that compare, without the epoch and the opening in cursors."""
    if isinstance(value, Entry):
        return value.seq, value.time, list(value.fields)
    if isinstance(value, Fields):
        return list(value)
    if isinstance(value, str):
        first, _, rest = value.partition("-")
        return rest if first.isdigit() and int(first) & 0xFFFFFFFF == epoch else value
    if isinstance(value, (list, tuple)):
        return [plain(each, epoch) for each in value]
    return value
