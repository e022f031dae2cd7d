"""What all connections share: the engine, the options, the clients, the counters.

Rule: there is one for each daemon. Everything in it is used on the loop's thread only, but for the
engine, which has its own lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from timeline.commit.group import Group
from timeline.engine.engine import Engine
from timeline.errors import TimelineError
from timeline.feeds.service import Feeds
from timeline.messaging.service import Messages
from timeline.search.storeindex import StoreIndex

from ..clients.blocking import LOG, Reader, Waiters
from ..clients.client import Client
from ..clients.holdings import Holdings
from ..clients.state import ClientState
from ..clients.turns import Turns
from ..config.config import Configuration
from ..errors import CommandError
from ..logs.logger import Logger
from ..registry.command import Command
from ..registry.lookup import every
from ..subscriptions.channels import Channels
from ..subscriptions.push import Push
from ..subscriptions.tracking import Tracker
from ..wire import replies
from .counters import Counters
from .making import Making
from .multicommit import MultiCommitRun, Step
from .pipeline import Pipeline
from .slowlog import SlowLog
from .threads import Threads
from .tunables import Tunables

_REFUSAL_SECONDS: Final = 0.000_02  # what a refusal takes, about: those are not timed


@dataclass(slots=True, eq=False)
class Service:
    engine: Engine
    configuration: Configuration
    loop: asyncio.AbstractEventLoop
    log: Logger
    stop: Callable[[], None]
    port: int
    metrics_port: int | None = None
    counters: Counters = field(default_factory=Counters)
    clients: dict[int, Client] = field(default_factory=dict)
    slow: SlowLog = field(default_factory=SlowLog)
    next_client: int = 1
    # Seconds that single commands and refusals took. A turn ends by it; it only grows.
    seconds: float = 0.0
    emptied: asyncio.Event = field(default_factory=asyncio.Event)  # the last client has gone
    turns: Turns = field(init=False)
    holdings: Holdings = field(init=False)
    pipeline: Pipeline = field(init=False)
    waiters: Waiters = field(init=False)
    making: Making = field(init=False)
    threads: Threads = field(init=False)
    index: StoreIndex = field(init=False)
    messages: Messages = field(init=False)
    feeds: Feeds = field(init=False)
    push: Push = field(init=False)
    channels: Channels = field(init=False)
    tracker: Tracker = field(init=False)
    tunables: Tunables = field(init=False)
    started: float = field(init=False)

    def __post_init__(self) -> None:
        settings = self.configuration.settings
        self.started = self.loop.time()
        self.tracker = Tracker(self.engine, self.loop)
        self.pipeline = Pipeline(
            self.engine, self.loop, self._applied, self.tracker.group_done, self.log
        )
        self.turns = Turns(self.loop)
        self.holdings = Holdings(
            self.loop,
            self.clients,
            lambda: self.tunables.clients_bytes,
            settings.busy_ms / 1000,
        )
        self.waiters = Waiters(self.loop, settings.blocked, self.refuse_late)
        self.making = Making(self.engine, self.turns, self.holdings, self.waiters, self.refuse_late)
        self.threads = Threads(self.loop, self.waiters, self.refuse_late)
        self.index = StoreIndex(self.engine)
        self.messages = Messages(self.engine, self.index)
        self.feeds = Feeds(self.engine, self.messages.keys, self.messages.presence, self.index)
        self.push = Push(self.loop, self.engine, self.messages, self.feeds)
        self.engine.observers.on_reload(self._reloaded)
        self.channels = Channels(self.loop)
        self.tunables = Tunables(
            settings.maxclients,
            settings.slowlog_log_slower_than,
            settings.slowlog_max_len,
            settings.clients_bytes,
            settings.tcp_keepalive,
            settings.timeout,
        )

    def _applied(self, group: Group) -> None:
        """Wakes blocked reads of what `group` appended to and of in-boxes that it concerns."""
        news = None
        readers: set[int] = set()  # of feeds
        if len(self.messages.watch) or len(self.feeds.watch):
            try:
                with self.engine.lock:
                    if len(self.messages.watch):
                        news = self.messages.watch.tell(group)
                        self.push.tell(news)
                    if len(self.feeds.watch):
                        readers = self.feeds.watch.concerned(group)
                        self.push.look(readers)
            except (
                TimelineError
            ) as problem:  # damage: those that read it are told, the others go on
                self.log.error("whom a commit concerns is not known", problem=str(problem))  # noqa: TRY400  it says all
                self._look_all()
                return
        waited = self.waiters.names
        if not waited:
            return
        touched = chain(group.appended.timelines, group.created)
        woken: list[bytes | int] = [
            name for name in dict.fromkeys(each.name for each in touched) if name in waited
        ]
        if news is not None:
            for inboxes in (news.look, *(fresh.inboxes for fresh in news.fresh)):
                woken += [inbox for inbox in inboxes if inbox in waited]
        woken += [reader for reader in readers if reader in waited]
        if LOG in waited:
            woken.append(LOG)
        if woken:
            with self.engine.lock:
                self.waiters.wake(woken)

    def _reloaded(self) -> None:
        """The store healed: what was uncertain may be stored, and no group tells of it."""
        with suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(self._look_all)

    def _look_all(self) -> None:
        """Lets all that wait for something look whether it has come."""
        with self.engine.lock:
            self.push.look_all()
            self.waiters.wake(list(self.waiters.names))

    def when_applied(self, group: Group, work: Callable[[], object]) -> None:
        """Does `work` once `group`, the newest, is applied, before any client goes on that waits
        for it; never if it fails. Called under the engine's lock.
        """
        if not group.done:
            self.pipeline.pending().works.append(work)
        elif group.error is None:
            work()

    def carry_on(self, client: Reader, step: Step, reply: Callable[[], bytes]) -> None:
        """Does the steps of a command after the first, which was just committed."""
        self.loop.call_soon(self._flush_soon)
        self.commit_in_steps(client, step, reply)

    def _flush_soon(self) -> None:
        """Makes what is staged durable, though nobody's reply waits for it."""
        with self.engine.lock:
            if self.engine.group.commits:
                self.pipeline.pending()

    def commit_in_steps(
        self, client: Reader, step: Step, answer: Callable[[], bytes] = lambda: replies.OK
    ) -> None:
        """Answers once everything that `step` stages, a commit at a time, is durable."""
        waiter = self.waiters.hold(client, soon=True)

        def done(problem: TimelineError | None) -> None:
            if problem is None:
                reply = answer()
            else:
                # The sentence is about the commit that failed; those before it are stored.
                unfinished = "only a part may have been done: send the command again"
                problem = CommandError(f"{problem}; {unfinished}", problem.code)
                reply = self.refuse_late(client.session, problem)
            self.waiters.answer(waiter, reply)

        busy_seconds = self.configuration.settings.busy_ms / 1000
        MultiCommitRun(self.engine, self.pipeline, self.loop, step, done, busy_seconds=busy_seconds)

    def room(self) -> int:
        """How many more clients there may be."""
        return self.tunables.maxclients - len(self.clients)

    def reject(self) -> bytes:
        """The line that a client beyond the limit is sent before it is closed. It is counted."""
        self.counters.connections += 1
        self.counters.rejected += 1
        return b"-ERR max number of clients reached\r\n"

    def refusal(self, problem: TimelineError) -> bytes:
        """The error reply, counted."""
        self.counters.errors[problem.code] += 1
        self.seconds += _REFUSAL_SECONDS
        return replies.error(problem)

    def refuse_late(self, client: ClientState, problem: Exception) -> bytes:
        """The error reply to a command that began well, waited, and failed."""
        if client.last is not None:
            client.last.account.failures += 1
        if not isinstance(problem, TimelineError):
            problem = self.own_mistake(problem)
        return self.refusal(problem)

    def own_mistake(self, problem: Exception) -> CommandError:
        """The answer where the daemon itself is at fault. The log has the trace."""
        self.log.error("a command failed", problem=repr(problem), exc_info=problem)
        return CommandError(f"internal error: {problem!r}")

    def reset_counters(self) -> None:
        self.counters.clear()
        self.push.pushed = self.channels.published = self.holdings.evicted = 0
        for command in every():
            command.account.clear()

    def timelines(self) -> int:
        """How many raw timelines there are."""
        with self.engine.lock:
            return self.engine.view.count

    def note(
        self,
        client: ClientState,
        command: Command,
        args: list[bytes],
        seconds: float,
        calls: int = 1,
    ) -> None:
        """Accounts `calls` of a command, the first of which is `args`. If they took longer than
        `slowlog_log_slower_than` on the average, the slow log keeps the first.
        """
        client.last = command
        account = command.account
        account.calls += calls
        account.seconds += seconds
        slow = self.tunables.slow_after
        if seconds >= slow and seconds >= slow * calls and "skip_slowlog" not in command.flags:
            self.slow.note(seconds / calls, args, client, self.tunables.slowlog_max_len)
