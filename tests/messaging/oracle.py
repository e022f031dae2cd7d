"""A plain oracle of conversations and users: lists, dicts and loops over everything.

Rule: nothing is clever here. Everything that ever happened is kept as a list of happenings in the
order of commits; what somebody sees, counts or is told is worked out from the beginning each time.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Sent:
    seq: int
    sender: str
    text: str
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    silent: bool = False
    edited: bool = False
    recalled: str | None = None
    lsn: int = 0


@dataclass
class Member:
    role: str = "none"
    spans: list[list[int | None]] = field(default_factory=list)  # [after seq, up to seq or None]
    left: int = 0  # the commit of the last leave
    read: int = 0
    cleared: int = 0
    hidden: set[int] = field(default_factory=set)
    mentioned: set[int] = field(default_factory=set)
    pinned: bool = False
    muted: bool = False
    unlisted: int | None = None


@dataclass
class Happening:
    """What a user's devices are to be told, in order; `seq` as in the entry."""

    lsn: int
    kind: str
    conversation: str
    seq: int


@dataclass
class Conversation:
    name: str
    kind: str
    history: str
    title: bytes = b""
    messages: dict[int, Sent] = field(default_factory=dict)
    first: int = 1
    head: int = 0
    pulled: bool = False
    members: dict[str, Member] = field(default_factory=dict)
    changes: list[Happening] = field(default_factory=list)  # what is told again to who comes back
    newest: Happening | None = None  # of what happened beside messages

    def current(self) -> list[str]:
        return [user for user, member in self.members.items() if member.role != "none"]

    def head_seen(self, user: str) -> int:
        """Where the conversation ends for somebody: for who left, where he left it."""
        last = self.members[user].spans[-1][1]
        return self.head if last is None else last

    def reaches(self, user: str, seq: int) -> bool:
        spans = self.members[user].spans
        if not spans:
            return False
        if self.history == "all":
            last = spans[-1][1]
            return last is None or seq <= last
        return any(seq > (after or 0) and (upto is None or seq <= upto) for after, upto in spans)

    def shown(self, user: str) -> list[Sent]:
        member = self.members[user]
        return [
            sent
            for seq, sent in sorted(self.messages.items())
            if seq > member.cleared and seq not in member.hidden and self.reaches(user, seq)
        ]

    def unread(self, user: str) -> list[Sent]:
        member = self.members[user]
        return [
            sent
            for sent in self.shown(user)
            if sent.seq > member.read and not sent.silent and sent.recalled is None
        ]

    def mentions(self, user: str) -> list[Sent]:
        member = self.members[user]
        return [
            sent for sent in self.unread(user) if sent.mention_all or sent.seq in member.mentioned
        ]

    def listed(self, user: str) -> bool:
        unlisted = self.members[user].unlisted
        return unlisted is None or self.head_seen(user) > unlisted

    def newest_lsn(self, user: str) -> int:
        """The commit of the newest message sent while he could see it, hidden or not."""
        last = self.members[user].spans[-1][1]
        seen = [s.lsn for s in self.messages.values() if last is None or s.seq <= last]
        return max(seen, default=0)


class Oracle:
    def __init__(self, limit: int) -> None:
        self.limit = limit  # members above which a conversation is read-diffused
        self.conversations: dict[str, Conversation] = {}
        self.told: dict[str, list[Happening]] = {}
        self.lsn = 0

    def tell(self, users: list[str], kind: str, conversation: str, seq: int) -> None:
        for user in users:
            self.told.setdefault(user, []).append(Happening(self.lsn, kind, conversation, seq))

    def deleted(self, name: str) -> None:
        """What was told of a conversation that is gone leads nowhere any more."""
        for happenings in self.told.values():
            happenings[:] = [
                each for each in happenings if each.conversation != name or each.kind == "delete"
            ]

    def to_be_told(self, user: str, after: int, upto: int) -> list[tuple[str, str, int]]:
        """(kind, conversation, seq) behind commit `after`, up to `upto`, as a device is told now:
        nothing of messages not shown any more, several edits of one message as the last one.
        """
        found: list[tuple[str, str, int]] = []
        for each in self.told.get(user, []):
            if not after < each.lsn <= upto:
                continue
            place = self.conversations.get(each.conversation)
            if each.kind in ("message", "edit", "recall"):
                assert place is not None
                if each.seq not in [sent.seq for sent in place.shown(user)]:
                    continue
            if each.kind == "trim":
                assert place is not None
                if user in place.current() and each.seq + 1 < place.first:
                    continue  # there is a later one
            kind = "clear" if each.kind == "trim" else each.kind
            entry = (kind, each.conversation, each.seq)
            if each.kind == "edit" and entry in found:
                found.remove(entry)
            found.append(entry)
        return found

    # --- what happens -------------------------------------------------------------------------

    def commit(self) -> None:
        self.lsn += 1

    def create(self, name: str, kind: str, history: str, actor: str, members: list[str]) -> None:
        self.commit()
        place = self.conversations[name] = Conversation(name, kind, history)
        users = list(dict.fromkeys(([actor] if actor != "-" else []) + members))
        for user in users:
            place.members[user] = Member("member", [[0, None]])
        if actor != "-":
            place.members[actor].role = "admin"
        place.pulled = len(users) > self.limit
        self.tell(users, "join", name, 0)

    def join(self, name: str, users: list[str]) -> int:
        place = self.conversations[name]
        fresh = [user for user in dict.fromkeys(users) if user not in place.current()]
        if not fresh:
            return 0
        self.commit()
        came_back = [user for user in fresh if user in place.members]
        for user in fresh:
            member = place.members.setdefault(user, Member())
            member.role = "member"
            member.spans.append([place.head, None])
            member.read = max(member.read, place.head)
            member.unlisted = None
        place.pulled = place.pulled or len(place.current()) > self.limit
        self.tell(self._concerned(place, fresh), "join", name, 0)
        place.newest = None
        for user in came_back:
            for sent in place.messages.values() if place.history == "all" else ():
                if sent.lsn > place.members[user].left:
                    self.tell([user], "message", name, sent.seq)
            for each in place.changes:
                if each.lsn > place.members[user].left:
                    self.tell([user], each.kind, name, each.seq)
        return len(fresh)

    def leave(self, name: str, users: list[str]) -> int:
        place = self.conversations[name]
        gone = [user for user in dict.fromkeys(users) if user in place.current()]
        if not gone:
            return 0
        self.commit()
        for user in gone:
            member = place.members[user]
            member.role = "none"
            member.spans[-1][1] = place.head
            member.left = self.lsn
        place.pulled = place.pulled and len(place.current()) > self.limit * 4 // 5
        self.tell(self._concerned(place, gone), "leave", name, 0)
        place.newest = None
        return len(gone)

    def set_role(self, name: str, user: str, role: str) -> None:
        place = self.conversations[name]
        if place.members[user].role == role:
            return
        self.commit()
        place.members[user].role = role
        self.tell(self._concerned(place, [user]), "role", name, 0)
        place.newest = None

    def _concerned(self, place: Conversation, users: list[str]) -> list[str]:
        """Everybody; in a large conversation those who changed, and the admins."""
        others = [
            user
            for user in place.current()
            if not place.pulled or place.members[user].role == "admin"
        ]
        return list(dict.fromkeys((*users, *others)))

    def send(self, name: str, sent: Sent) -> int:
        self.commit()
        place = self.conversations[name]
        place.head += 1
        sent.seq, sent.lsn = place.head, self.lsn
        place.messages[sent.seq] = sent
        if sent.sender in place.members:
            place.members[sent.sender].read = sent.seq
        for user in sent.mentions:
            if user in place.current():
                place.members[user].mentioned.add(sent.seq)
        self.tell(place.current(), "message", name, sent.seq)
        return sent.seq

    def edit(
        self, name: str, seq: int, text: str, mentions: tuple[str, ...], mention_all: bool
    ) -> None:
        """An edit says all anew: whom it does not name any more is not mentioned."""
        self.commit()
        place = self.conversations[name]
        sent = place.messages[seq]
        sent.text, sent.edited = text, True
        for user in set(sent.mentions) - set(mentions):
            if user in place.members:
                place.members[user].mentioned.discard(seq)
        for user in mentions:
            if user in place.current():
                place.members[user].mentioned.add(seq)
        sent.mentions, sent.mention_all = mentions, mention_all
        self.change(place, "edit", seq)

    def recall(self, name: str, seq: int) -> None:
        place = self.conversations[name]
        if place.messages[seq].recalled is None:
            place.messages[seq].recalled = "-"
            self.commit()
            self.change(place, "recall", seq)

    def describe(self, name: str, title: str) -> None:
        self.commit()
        self.conversations[name].title = title.encode()
        self.change(self.conversations[name], "meta", 0)

    def change(self, place: Conversation, kind: str, seq: int) -> None:
        """Everybody is told, and who comes back later is told then."""
        place.newest = Happening(self.lsn, kind, place.name, seq)
        place.changes.append(place.newest)
        self.tell(place.current(), kind, place.name, seq)

    def trim(self, name: str, first: int) -> None:
        """Devices are told; of two such events with nothing between them the second says all."""
        self.commit()
        place = self.conversations[name]
        place.first = max(place.first, first)
        for seq in [seq for seq in place.messages if seq < first]:
            del place.messages[seq]
        before = place.newest
        if before is not None and before.kind == "trim":
            place.changes.remove(before)
            for happenings in self.told.values():
                happenings[:] = [
                    each
                    for each in happenings
                    if (each.kind, each.conversation, each.seq) != ("trim", name, before.seq)
                ]
        self.change(place, "trim", first - 1)
