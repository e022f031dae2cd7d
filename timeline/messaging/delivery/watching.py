"""Watching: whose devices a group of commits concerns.

Responsibility: know the in-boxes that somebody waits for. Say of each applied group which of them
it reached: by delivery, or in a read-diffused conversation of which their users are members.

Rule: a group is looked at one time, and only if somebody waits. It brings news of two kinds.

    fresh   a plain message to settled members: which message, and which in-boxes. It is read once,
            for all of them.
    look    everything else: which in-boxes may have something, and read for themselves

A member is settled if the group changes neither their membership nor the diffusion. News may name
an in-box for which there turns out to be nothing. It never leaves one out. Nothing is kept for
in-boxes that nobody waits for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from timeline.commit.group import Group
from timeline.engine.engine import Engine
from timeline.formats.conversations import (
    CONVERSATION,
    MEMBER,
    MESSAGE,
    PULLED,
    ROSTER,
    between,
    second_id,
    split_roster_key,
)
from timeline.formats.keys import number, split_number, split_pair
from timeline.formats.records import DELIVER, NOTIFY, decode_target
from timeline.formats.stretches import Stretch
from timeline.messaging.access.access import Conversation, is_current, load_conversation, member_of
from timeline.messaging.access.entries import OF_MEMBERSHIP, split_event

_UNKNOWN: Final = -2  # the LSN of no group, nor of the one before
_MOST_UNNOTED: Final = 1_000  # groups whose changes are yet to be noted; beyond, all look


class Fresh(NamedTuple):
    """A message to all of `inboxes`, and the only thing that commit `lsn` brings them. Those that
    are to look may be among them.
    """

    lsn: int
    conversation: bytes  # the name of its timeline
    seq: int
    payload: bytes
    inboxes: Sequence[int]


class News(NamedTuple):
    """What a group brought: in-boxes that are to look, and messages for others in the order of
    commits.
    """

    look: set[int]
    fresh: list[Fresh]


class _Pulled:
    """A conversation that users pull, as far as somebody waits for them."""

    __slots__ = ("_current", "_members", "events", "inboxes", "messages", "open", "stretches")

    def __init__(self, conversation: Conversation) -> None:
        self.messages = conversation.id
        self.events = conversation.row.events
        self.inboxes: set[int] = set()  # of those who pull it, or did
        self._current: set[int] = set()  # those of them who are members now
        self._members: tuple[int, ...] | None = None  # the same, as long as it stays so
        self.open = conversation.pulled  # whether it is read-diffused now
        self.stretches: tuple[Stretch, ...] = conversation.row.pulled

    def settle(self, inbox: int, *, current: bool) -> None:
        if current is (inbox in self._current):
            return
        if current:
            self._current.add(inbox)
        else:
            self._current.discard(inbox)
        self._members = None

    def leave_out(self, inbox: int) -> None:
        self.inboxes.discard(inbox)
        self.settle(inbox, current=False)

    def members(self) -> tuple[int, ...]:
        """The in-boxes that a message reaches: the same object until a member comes or goes."""
        if self._members is None:
            self._members = tuple(self._current)
        return self._members


class Watch:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._view = engine.view
        self._watchers: dict[int, int] = {}  # in-box → how many wait for it
        self._pulled: dict[int, _Pulled] = {}
        self._by_timeline: dict[int, _Pulled] = {}
        self._seen = engine.applied  # the last LSN of the last group looked at
        self._followed: dict[int, list[int]] = {}  # in-box → conversations that its user pulls
        self._unnoted: list[dict[bytes, bytes | None]] = []  # changes of groups applied since
        engine.observers.on_apply(self._observe)

    def __len__(self) -> int:
        return len(self._watchers)

    def add(self, inbox: int) -> None:
        """Somebody waits for an in-box."""
        if not self._watchers:
            self._seen = self._engine.applied
            self._unnoted.clear()
        self._watchers[inbox] = self._watchers.get(inbox, 0) + 1
        if self._watchers[inbox] == 1:
            self._follow(inbox)

    def remove(self, inbox: int) -> None:
        """One of those who wait for an in-box waits no longer."""
        self._watchers[inbox] -= 1
        if not self._watchers[inbox]:
            del self._watchers[inbox]
            self._unfollow(inbox)

    def concerned(self, group: Group) -> set[int]:
        """As `tell`: all in-boxes for which a group may have brought something."""
        news = self.tell(group)
        return news.look.union(*[fresh.inboxes for fresh in news.fresh])

    def tell(self, group: Group) -> News:
        """What an applied group brings those who wait.

        If groups before it were not given here (the store healed, and what was uncertain stands),
        all are to look. Raises `CorruptError` when the rows that say who is concerned are damaged:
        then all are to look too, for this group and the next.
        """
        missed = group.first != self._seen + 1
        self._seen = _UNKNOWN  # if this fails, all look the next time
        look = set(self._watchers) if missed else set()
        if missed:
            for inbox in look:
                self._unfollow(inbox)
            for inbox in look:
                self._follow(inbox)
        unnoted, self._unnoted = self._unnoted, []
        for state in unnoted:
            self._note_changes(state, look)
        news = self._news(group, look)
        self._seen = group.last
        return news

    def _observe(self, group: Group) -> None:
        """A group was applied. `tell` comes later, for each of them."""
        if self._watchers and group.state:
            self._unnoted.append(group.state)
            if len(self._unnoted) > _MOST_UNNOTED:
                self._unnoted.clear()
                self._seen = _UNKNOWN

    def _news(self, group: Group, look: set[int]) -> News:
        fresh: list[Fresh] = []
        for operation in group.operations:
            if operation.kind == DELIVER:
                reached = self._engine.view.inboxes.audience(operation.id).reached(operation.lsn)
                inboxes = [inbox.id for inbox in reached if inbox.id in self._watchers]
                to = decode_target(operation.body)
                found = None
                # A delivery that leaves somebody out goes with a change of the audience: look.
                if inboxes and to.kind == MESSAGE and not to.inboxes:
                    found = self._fresh(to.timeline_id, operation.argument, inboxes)
                if found is None:
                    look.update(inboxes)
                else:
                    fresh.append(found)
            elif operation.kind == NOTIFY:
                named = decode_target(operation.body).inboxes
                look.update(inbox for inbox in named if inbox in self._watchers)
        if self._by_timeline:
            self._find_pulled(group, look, fresh)
        several = Counter(each.lsn for each in fresh)
        for each in fresh:
            if several[each.lsn] > 1:  # whoever reads them finds which comes first
                look.update(each.inboxes)
        alone = [each for each in fresh if several[each.lsn] == 1]
        return News(look, sorted(alone))  # in the order of commits, whichever way each goes

    def _fresh(self, timeline_id: int, seq: int, inboxes: Sequence[int]) -> Fresh | None:
        timeline = self._view.load(timeline_id)
        row = None if timeline is None else self._view.entry(timeline, seq)
        if timeline is None or row is None:
            return None
        return Fresh(row[1], timeline.name, seq, row[3], inboxes)

    def _find_pulled(self, group: Group, look: set[int], fresh: list[Fresh]) -> None:
        """What the group appended to conversations that users pull."""
        appended = group.appended
        for timeline, seq in zip(appended.timelines, appended.seqs, strict=True):
            pulled = self._by_timeline.get(timeline.id)
            if pulled is None or not pulled.open:
                continue
            found = self._fresh(timeline.id, seq, pulled.members())
            if found is None:
                continue
            if timeline.id == pulled.messages:
                fresh.append(found)
            elif split_event(found.payload)[0] not in OF_MEMBERSHIP:
                look.update(found.inboxes)

    # --- what users pull ----------------------------------------------------------------------

    def _note_changes(self, state: Iterable[bytes], look: set[int]) -> None:
        """Follow changes of memberships; those who are not settled now are to look."""
        for key in state:
            family = key[:2]
            if family == PULLED:
                inbox = split_pair(key[2:])[0]
                if inbox in self._watchers:
                    self._follow(inbox)
                    look.add(inbox)
            elif family == ROSTER:
                _, _, inbox = split_roster_key(key)
                if inbox in self._watchers:
                    look.add(inbox)
            elif family == MEMBER and self._pulled:
                inbox, conversation = split_pair(key[2:])
                pulled = self._pulled.get(conversation)
                if pulled is not None and inbox in pulled.inboxes:
                    self._settle(pulled, inbox)
            elif family == CONVERSATION and self._pulled:
                pulled = self._pulled.get(split_number(key[2:]))
                if pulled is not None and self._switched(pulled):
                    look.update(pulled.inboxes)

    def _follow(self, inbox: int) -> None:
        """Find out again which conversations the user of an in-box pulls."""
        self._unfollow(inbox)
        followed = self._followed[inbox] = []
        for key, _ in self._view.scan(*between(PULLED + number(inbox))):
            conversation = second_id(key)
            pulled = self._pulled.get(conversation)
            if pulled is None:
                found = load_conversation(self._view, conversation)
                if found is None:
                    continue
                pulled = self._pulled[conversation] = _Pulled(found)
                self._by_timeline[pulled.messages] = self._by_timeline[pulled.events] = pulled
            followed.append(conversation)
            pulled.inboxes.add(inbox)
            self._settle(pulled, inbox)

    def _settle(self, pulled: _Pulled, inbox: int) -> None:
        pulled.settle(inbox, current=is_current(member_of(self._view, inbox, pulled.messages)))

    def _switched(self, pulled: _Pulled) -> bool:
        """Whether the diffusion is another one now, or was for a while."""
        found = load_conversation(self._view, pulled.messages)
        before = pulled.stretches
        pulled.open = found is not None and found.pulled
        pulled.stretches = () if found is None else found.row.pulled
        return pulled.stretches != before

    def _unfollow(self, inbox: int) -> None:
        for conversation in self._followed.pop(inbox, ()):
            pulled = self._pulled[conversation]
            pulled.leave_out(inbox)
            if not pulled.inboxes:
                del self._pulled[conversation]
                del self._by_timeline[pulled.messages], self._by_timeline[pulled.events]
