"""Two short scenes: three people who talk, with five devices, one of them off-line, and a large
group; and what they publish, with an author whom hundreds follow.

Rule: it plays against a real daemon through an ordinary Redis client, in a temporary directory, and
prints what every device and reader is told, so that the model can be read off. It takes some
seconds, and knows nothing that a client could not know.

    make demo        or: .venv/bin/python docs/examples/demo.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from typing import Any

import redis

Reply = dict[bytes, Any]
CROWD = 2_000
FANS = 600


class Device:
    """One device of a user: it remembers its cursor, and shows what a sync tells it."""

    def __init__(self, client: Any, user: str, name: str) -> None:  # noqa: ANN401  a Redis client
        self.client = client
        self.user = user
        self.name = name
        page = self.sync()
        if page[b"resync"]:  # new: list the conversations, then go on from where the list was read
            position = client.execute_command("USER.CONVERSATIONS", user)[b"position"]
            client.execute_command("USER.ACK", user, name, position)

    def sync(self) -> Reply:
        found: Reply = self.client.execute_command("USER.SYNC", self.user, self.name)
        return found

    def show(self) -> None:
        page = self.sync()
        lines = [_line(entry) for entry in page[b"entries"]] or ["(nothing new)"]
        print(f"  {self.user}'s {self.name}")
        for line in lines:
            print(f"      {line}")
        self.client.execute_command("USER.ACK", self.user, self.name, page[b"cursor"])


def _line(entry: list[Any]) -> str:
    kind, conversation, entry_id, items = entry
    fields = dict(zip(items[::2], items[1::2], strict=True))
    where = f"{conversation.decode()} {entry_id.decode()}"
    if b"@recalled" in fields:
        text = f"(recalled by {fields[b'@recalled'].decode()})"
    elif b"text" in fields:
        text = f"{fields[b'@from'].decode()}: {fields[b'text'].decode()}"
        text += " (edited)" if b"@edited" in fields else ""
    elif b"@count" in fields:
        text = f"{fields[b'@count'].decode()} user(s), {fields[b'@user'].decode()} last named"
    else:
        text = " ".join(f"{name.decode()}={value.decode()}" for name, value in fields.items())
    return f"{kind.decode():8} {where:12} {text}".rstrip()


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="timeline-demo-") as directory:
        command = [sys.executable, "-m", "timeline_server", "--data", directory, "--port", "0"]
        command += ["--log-level", "warning"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
            assert daemon.stdout is not None
            try:
                port = int(daemon.stdout.readline().rpartition(":")[2])
                with redis.Redis(port=port, protocol=3) as client:
                    talk(client)
                    publish(client)
            finally:
                daemon.terminate()
                daemon.wait(30)
    return 0


def talk(client: Any) -> None:  # noqa: ANN401  a Redis client
    def do(*words: str | int) -> Any:  # noqa: ANN401  a reply
        return client.execute_command(*words)

    print("Alice creates the group `trip` with Bob and Chen; each has devices.")
    do("CONV.CREATE", "trip", "alice", "MEMBERS", 2, "bob", "chen")
    alice, laptop = Device(client, "alice", "phone"), Device(client, "alice", "laptop")
    bob, chen = Device(client, "bob", "phone"), Device(client, "chen", "phone")
    tablet = Device(client, "chen", "tablet")

    print("\nThey talk. Chen's tablet is off-line and hears nothing of it yet.")
    do("CONV.SEND", "trip", "alice", "KEY", "a1", "*", "text", "Shall we meet at nine?")
    do("CONV.SEND", "trip", "chen", "KEY", "c1", "*", "text", "已添加为好友，明天见")
    do("CONV.SEND", "trip", "bob", "KEY", "b1", "*", "text", "I'll bring the mpa")
    for device in (alice, laptop, bob, chen):
        device.show()

    print("\nA reply is lost on the way, so Alice's phone sends the same again with the same key:")
    seq, _, status = do(
        "CONV.SEND", "trip", "alice", "KEY", "a1", "*", "text", "Shall we meet at nine?"
    )
    print(f"  message {seq}, {status.decode()}: nothing was stored twice")

    print("\nBob corrects his message, Alice takes hers back, Chen reads on the phone.")
    do("CONV.EDIT", "trip", 3, "bob", "*", "text", "I'll bring the map")
    do("CONV.RECALL", "trip", 1, "alice")
    print(f"  unread for Chen before: {do('USER.UNREAD', 'chen')}", end="; ")
    do("USER.READ", "chen", "trip", 3)
    print(f"after: {do('USER.UNREAD', 'chen')}")
    for device in (laptop, bob, chen):
        device.show()

    print("\nNow the tablet comes back. It pulls what it missed, as everything stands today:")
    tablet.show()

    print(
        f"\nAlice creates `town` with {CROWD:,} members: too many to write to each, so each reads."
    )
    crowd = [f"citizen{number}" for number in range(CROWD)]
    do("CONV.CREATE", "town", "alice", "MEMBERS", len(crowd) + 1, "bob", *crowd)
    do("CONV.SEND", "town", "alice", "MENTIONALL", "*", "text", "Hello, everybody")
    info = do("CONV.INFO", "town", "bob")
    print(f"  {info[b'members']} members, {info[b'diffusion'].decode()} diffusion")
    bob.show()
    Device(client, "citizen1999", "phone")
    print(f"  unread for citizen1999: {do('USER.UNREAD', 'citizen1999')}")

    print("\nBob's list of conversations:")
    for row in do("USER.CONVERSATIONS", "bob")[b"conversations"]:
        _, items = row[b"last"]
        text = dict(zip(items[::2], items[1::2], strict=True)).get(b"text", b"(recalled)").decode()
        name = row[b"id"].decode()
        print(f"  {name:6} unread {row[b'unread']}, mentions {row[b'mentions']}, last: {text}")

    print("\nA new device reads the whole history of `trip`:")
    for entry_id, items in do("CONV.HISTORY", "trip", "chen"):
        print(f"      {_line([b'message', b'trip', entry_id, items])}")

    print("\nBob searches, and finds what he may see, as it is now:")
    for query in ("好友", "map OR hello", "nine"):
        found = do("USER.SEARCH", "bob", query, "WAIT", 4_000)
        print(f"  {query}: {found[b'total']} found")
        for conversation, entry_id, _, marked in found[b"hits"]:
            where = f"{conversation.decode()} {entry_id.decode()}"
            print(f"      {where:12} {marked.decode()}")


def publish(client: Any) -> None:  # noqa: ANN401  a Redis client
    def do(*words: str | int) -> Any:  # noqa: ANN401  a reply
        return client.execute_command(*words)

    def show(user: str) -> None:
        page = do("FEED.HOME", user)
        print(f"  {user}'s home")
        for post in page[b"posts"] or [None]:
            print(f"      {'(empty)' if post is None else _post(post, page[b'refs'])}")

    print(f"\nAlice publishes. Bob follows her, and then {FANS} others: too many to deliver to.")
    do("FEED.PUBLISH", "alice", "*", "text", "The first post, before anybody followed")
    do("FEED.FOLLOW", "bob", "alice")
    do("FEED.PUBLISH", "alice", "*", "text", "Delivered to each follower")
    with client.pipeline(transaction=False) as many:
        for number in range(FANS):
            many.execute_command("FEED.FOLLOW", f"fan{number}", "alice")
        many.execute()
    do("FEED.PUBLISH", "alice", "TAGS", 1, "map", "*", "text", "Stored once, and pulled by each")
    followers = do("FEED.INFO", "bob", "alice")[b"followers"]
    print(f"  Alice has {followers} followers. Bob reads on as before:")
    show("bob")

    print("\nThey reply, repost and like it. Alice is told once for each kind.")
    do("FEED.PUBLISH", "bob", "REPLY", "alice/3", "*", "text", "So I need no copy?")
    do("FEED.PUBLISH", "chen", "*", "text", "Maps!")
    do("FEED.PUBLISH", "chen", "REPOST", "alice/3")
    with client.pipeline(transaction=False) as many:
        for number in range(FANS):
            many.execute_command("FEED.REACT", "alice", 3, f"fan{number}", "like")
        many.execute()
    print(f"  unseen, posts and notes: {do('FEED.UNSEEN', 'alice')}")
    for note in do("FEED.NOTES", "alice")[b"notes"]:
        users = ", ".join(user.decode() for user in note[b"users"])
        print(f"      {note[b'kind'].decode():7} {note[b'count']:3}  {users}")

    print("\nBob follows Chen, too: the same post does not come twice. Then he unfollows Alice.")
    do("FEED.FOLLOW", "bob", "chen")
    show("bob")
    do("FEED.UNFOLLOW", "bob", "alice")
    show("bob")


def _post(post: list[Any], refs: Reply) -> str:
    kind, author, post_id, items, counts, _ = post
    fields = dict(zip(items[::2], items[1::2], strict=True))
    text = fields.get(b"text", b"").decode()
    if kind == b"repost":
        _, whose, _, items, counts, _ = refs[fields[b"@repost"]]
        text = (
            f"{whose.decode()}: {dict(zip(items[::2], items[1::2], strict=True))[b'text'].decode()}"
        )
    counted = zip(counts[::2], counts[1::2], strict=True)
    shown = ", ".join(f"{number} {name.decode()}" for name, number in counted)
    where = f"{author.decode()}/{post_id.decode().removesuffix('-0')}"
    return f"{kind.decode():7} {where:8} {text}" + (f"  [{shown}]" if shown else "")


if __name__ == "__main__":
    sys.exit(main())
