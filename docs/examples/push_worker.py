"""A push worker: tells the phones of members who are off line that a message has come.

It follows the commit log of a daemon as the consumer `push`. For each message it finds the members
who are not online and have not muted the conversation, and calls `notify` with the tokens of their
devices. The daemon keeps its place in the log, which moves only after that. So nobody is forgotten
when the worker or the daemon stops. After a crash, members may be told the last messages again.

    make run                                              in one shell
    .venv/bin/python docs/examples/push_worker.py 7420    in another; it takes the port
    redis-cli -p 7420 CONV.CREATE team alice MEMBERS 1 bob
    redis-cli -p 7420 USER.DEVICE bob phone '*' token 77ab
    redis-cli -p 7420 CONV.SEND team alice '*' text Hello

`USER.DEVICE` is how a device gives its token. The worker prints that with the message.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import redis

NAME = "push"
Notify = Callable[[str, list[str], str, str], None]  # user, tokens, conversation, text


class Worker:
    def __init__(self, port: int, notify: Notify) -> None:
        self.client: Any = redis.Redis(port=port, protocol=3, decode_responses=True)
        self.notify = notify
        try:
            self.place = self.do("LOG.CONSUMER", NAME)
        except redis.ResponseError as refusal:
            if not str(refusal).startswith("NOTFOUND"):
                raise
            self.begin_now()  # the first start: messages of before are old news

    def do(self, *words: str | int) -> Any:  # noqa: ANN401  a reply
        return self.client.execute_command(*words)

    def begin_now(self) -> None:
        """Go on from the end of the log."""
        ((self.place, _, _),) = self.do("LOG.TAIL", "AFTER", "$")
        self.do("LOG.CONSUMER", NAME, self.place)

    def work(self) -> None:
        """Wait for some seconds for commits, and push what they brought."""
        try:
            commits = self.do("LOG.TAIL", "AFTER", self.place, "COUNT", 100, "BLOCK", 4_000)
        except redis.ResponseError as refusal:
            if not str(refusal).startswith("TRIMMED"):
                raise
            self.begin_now()  # it was away longer than the log is kept
            return
        for lsn, _, changes in commits:
            for change in changes:
                if change[0] == "append" and (change[1] or "").startswith("@conv:"):
                    self.push(*change[1:])
            self.place = lsn
        if commits:
            self.do("LOG.CONSUMER", NAME, self.place)  # only now: what is not done is done again

    def push(self, timeline: str, first: int, last: int) -> None:
        conversation = timeline.removeprefix("@conv:")
        try:
            while rows := self.do("TIMELINE.RANGE", timeline, "FROM", first, "TO", last):
                for entry_id, _, items in rows:
                    message = dict(zip(items[::2], items[1::2], strict=True))  # as it is now
                    if "@recalled" not in message and "@silent" not in message:
                        self.tell(conversation, message)
                    first = int(entry_id.partition("-")[0]) + 1
        except redis.ResponseError as refusal:
            if not str(refusal).startswith(("NOTFOUND", "NOPERM")):
                raise  # otherwise the conversation was deleted meanwhile

    def tell(self, conversation: str, message: dict[str, str]) -> None:
        for user in self.off_line(conversation):
            if user != message["@from"]:
                devices = self.do("USER.DEVICES", user)
                tokens = [each["token"] for each in devices if "token" in each]
                self.notify(user, tokens, conversation, message.get("text", ""))

    def off_line(self, conversation: str) -> Iterator[str]:
        """Members who are not online, and have not muted the conversation."""
        page = self.do("CONV.MEMBERS", conversation, "-")
        while True:
            users = [user for user, _, _ in page["members"]]
            for user, on_line in zip(users, self.do("USER.ONLINE", *users), strict=True):
                row = None if on_line else self.do("USER.CONVERSATION", user, conversation)
                if row is not None and row["settings"]["@mute"] == "0":
                    yield user
            if not page["cursor"]:
                return
            page = self.do("CONV.MEMBERS", conversation, "-", "AFTER", page["cursor"])


def show(user: str, tokens: list[str], conversation: str, text: str) -> None:
    """Yours would call the service that pushes to phones."""
    print(user, tokens, conversation, text, flush=True)


if __name__ == "__main__":
    worker = Worker(int(sys.argv[1]) if len(sys.argv) > 1 else 7420, show)
    print("waiting for messages", flush=True)
    while True:
        worker.work()
