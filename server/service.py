"""What all connections share: the engine, the options, those who wait, the counters.

Rule: one object per daemon, made by `daemon`; everything in it is used on the loop's thread only,
but the engine, which has its own lock.

Work that would hold up the loop is done by three pools of threads, so that no kind waits for
another: jobs of minutes (compaction, backups), searches, and the rest, which is short.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from math import inf
from typing import TYPE_CHECKING

from timeline.admin.progress import Progress
from timeline.commit.group import Group
from timeline.engine.engine import Engine
from timeline.errors import TimelineError
from timeline.messaging.service import Messages
from timeline.search.serving import lagging

from . import replies
from .blocking import LOG, Waiter, Waiters
from .channels import Channels
from .config import Configuration
from .errors import CommandError
from .holdings import Holdings
from .jobs import Job
from .logs import Logger
from .making import Making, Steps
from .pipeline import Pipeline
from .push import Push
from .registry import every
from .series import Series, Step
from .tracking import Tracker
from .turns import Turns

if TYPE_CHECKING:
    from .connection import Connection
    from .registry import Command
    from .session import Session

# Threads. They share one interpreter, so more of them would finish nothing sooner.
_JOBS_AT_A_TIME = 2
_SEARCHES_AT_A_TIME = 4
_SHORT_AT_A_TIME = 2

_REFUSAL_SECONDS = 0.000_02  # what a refusal takes, about: those are not timed


def _pool(threads: int, name: str) -> ThreadPoolExecutor:
    """Starts its threads when there is something to do."""
    return ThreadPoolExecutor(threads, thread_name_prefix=name)


@dataclass(slots=True)
class Counters:
    """What INFO shows, since the start."""

    connections: int = 0
    rejected: int = 0
    disconnected: int = 0  # by us: slow readers, protocol errors
    input_bytes: int = 0
    output_bytes: int = 0
    errors: Counter[str] = field(default_factory=Counter)  # error replies by their first word

    def clear(self) -> None:
        """Counts from 0 again. Connections share this object, so it stays the same."""
        self.connections = self.rejected = self.disconnected = 0
        self.input_bytes = self.output_bytes = 0
        self.errors.clear()


@dataclass(frozen=True, slots=True)
class SlowCommand:
    id: int
    time: int
    microseconds: int
    args: list[bytes]
    address: str
    name: bytes


@dataclass(slots=True)
class Tunables:
    """Options that CONFIG SET may change while the daemon runs."""

    maxclients: int
    slowlog_log_slower_than: int  # microseconds; below zero: never
    slowlog_max_len: int
    clients_bytes: int
    tcp_keepalive: int  # seconds, and
    timeout: int  # likewise; 0: never
    slow_after: float = field(init=False)  # the same in seconds

    def __post_init__(self) -> None:
        self.settle()

    def settle(self) -> None:
        """Recomputes what follows from the options, after one changed."""
        limit = self.slowlog_log_slower_than
        self.slow_after = limit / 1e6 if limit >= 0 else inf


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
    clients: dict[int, Connection] = field(default_factory=dict)
    slow: deque[SlowCommand] = field(default_factory=deque)
    slow_id: int = 0
    next_client: int = 1
    # What commands took that came one by one, and refusals: turns end by that. It only grows.
    seconds: float = 0.0
    emptied: asyncio.Event = field(default_factory=asyncio.Event)  # the last client has gone
    jobs: list[Job] = field(default_factory=list)
    _job_threads: ThreadPoolExecutor = field(default_factory=lambda: _pool(_JOBS_AT_A_TIME, "job"))
    _search_threads: ThreadPoolExecutor = field(
        default_factory=lambda: _pool(_SEARCHES_AT_A_TIME, "search")
    )
    _short_threads: ThreadPoolExecutor = field(
        default_factory=lambda: _pool(_SHORT_AT_A_TIME, "short")
    )
    turns: Turns = field(init=False)
    holdings: Holdings = field(init=False)
    pipeline: Pipeline = field(init=False)
    waiters: Waiters = field(init=False)
    messages: Messages = field(init=False)
    push: Push = field(init=False)
    channels: Channels = field(init=False)
    tracker: Tracker = field(init=False)
    tunables: Tunables = field(init=False)
    started: float = field(init=False)

    def __post_init__(self) -> None:
        settings = self.configuration.settings
        self.started = self.loop.time()
        self.tracker = Tracker(self.engine, self.loop)
        self.pipeline = Pipeline(self.engine, self.loop, self._applied, self.tracker.land, self.log)
        self.turns = Turns(self.loop)
        self.holdings = Holdings(
            self.loop,
            self.clients,
            lambda: self.tunables.clients_bytes,
            settings.busy_ms / 1000,
        )
        self.waiters = Waiters(self.loop, settings.blocked, self.refuse_late)
        self.messages = Messages(self.engine)
        self.push = Push(self, self.messages)
        self.engine.on_reload(self._reloaded)
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
        """Wakes blocked reads of what `group` appended to, and whom it reached."""
        news = None
        if len(self.messages.watch):
            try:
                with self.engine.lock:
                    news = self.messages.watch.tell(group)
                    self.push.tell(news)
            except TimelineError as problem:  # damage: whoever reads it is told, the others go on
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
        if LOG in waited:
            woken.append(LOG)
        if woken:
            with self.engine.lock:
                self.waiters.wake(woken)

    def _reloaded(self) -> None:
        """The store healed: what was uncertain may stand, and no group tells of it."""
        with suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(self._look_all)

    def _look_all(self) -> None:
        """Lets all who wait for something look whether it has come."""
        with self.engine.lock:
            self.push.look_all()
            self.waiters.wake(list(self.waiters.names))

    def when_applied(self, group: Group, work: Callable[[], object]) -> None:
        """Does `work` once the newest group is applied, before anybody goes on who waits for it;
        not if it fails. Called under the engine's lock.
        """
        if not group.done:
            self.pipeline.flight().works.append(work)
        elif group.error is None:
            work()

    def carry_on(self, connection: Connection, step: Step, reply: Callable[[], bytes]) -> None:
        """Does the parts of a command behind the first, which was just committed."""
        self.loop.call_soon(self._see_off)
        self.commit_in_steps(connection, step, reply)

    def _see_off(self) -> None:
        """What is staged is made durable, though nobody's reply waits for it."""
        with self.engine.lock:
            if self.engine.group.commits:
                self.pipeline.flight()

    def make(self, connection: Connection, steps: Steps, nothing: bytes = b"") -> bytes | None:
        """Answers with what `steps` make: at once when the first makes all, perhaps of no bytes;
        else in turns, and with `nothing` for nothing.
        """
        try:
            size = next(steps)
        except StopIteration as end:
            return b"".join(end.value)
        Making(self, connection, steps, size, nothing)
        return None

    def detach(self, connection: Connection, work: Callable[[], bytes]) -> None:
        """Answers with what `work`, which is short, returns; done on another thread without the
        engine's lock.
        """
        self._work(self._short_threads, self.waiters.hold(connection, soon=True), work)

    def detach_search(self, connection: Connection, work: Callable[[], bytes]) -> None:
        """As `detach`, for a search, which may take longer."""
        self._work(self._search_threads, self.waiters.hold(connection, soon=True), work)

    def detach_job(
        self, connection: Connection, command: str, work: Callable[[Progress], bytes]
    ) -> None:
        """As `detach`, for work that tells how far it is and ends early when its client goes; it
        may wait for others of its kind.
        """
        job = Job(command, connection.session.id)
        self.jobs.append(job)

        def ended() -> None:
            job.drop()
            running.cancel()  # which does nothing once it has begun

        waiter = self.waiters.hold(connection, ended)
        running = self._work(
            self._job_threads, waiter, lambda: work(job.tell), lambda: self.jobs.remove(job)
        )

    def detach_when_indexed(
        self, connection: Connection, lsn: int, seconds: float, work: Callable[[], bytes]
    ) -> None:
        """As `detach_search`, once the index has reached `lsn`; INDEXLAG if that takes longer."""
        waiter = self.waiters.hold(connection, soon=True)
        indexer = self.messages.searchable

        def go_on() -> None:
            timer.cancel()
            self._work(self._search_threads, waiter, work)

        def fail() -> None:
            call_off()
            refusal = self.refuse_late(connection, lagging(indexer.reached, lsn))
            self.waiters.answer(waiter, refusal)

        def reached(there: bool) -> None:  # on the indexer's thread
            with suppress(RuntimeError):  # the loop has ended, and the connection with it
                self.loop.call_soon_threadsafe(go_on if there else fail)

        timer = self.loop.call_later(seconds, fail)
        call_off = indexer.when_reached(lsn, reached)

    def _work(
        self,
        threads: ThreadPoolExecutor,
        waiter: Waiter,
        work: Callable[[], bytes],
        ended: Callable[[], None] = lambda: None,
    ) -> Future[bytes]:
        def done(future: asyncio.Future[bytes]) -> None:
            ended()
            if future.cancelled():
                return
            try:
                reply = future.result()
            except TimelineError as problem:
                reply = self.refuse_late(waiter.connection, problem)
            except Exception as problem:  # a mistake of ours: the client must not wait for ever
                reply = self.refuse_late(waiter.connection, self.own_mistake(problem))
            self.waiters.answer(waiter, reply)

        running = threads.submit(work)
        asyncio.wrap_future(running).add_done_callback(done)
        return running

    def commit_in_steps(
        self, connection: Connection, step: Step, answer: Callable[[], bytes] = lambda: replies.OK
    ) -> None:
        """Answers once everything that `step` stages, a commit at a time, is durable."""
        waiter = self.waiters.hold(connection, soon=True)

        def done(problem: TimelineError | None) -> None:
            if problem is None:
                reply = answer()
            else:
                # What was done stands, whatever the sentence says of the commit that failed.
                unfinished = "only a part may have been done: send the command once more"
                problem = CommandError(f"{problem}; {unfinished}", problem.code)
                reply = self.refuse_late(connection, problem)
            self.waiters.answer(waiter, reply)

        busy_seconds = self.configuration.settings.busy_ms / 1000
        Series(self.engine, self.pipeline, self.loop, step, done, busy_seconds=busy_seconds)

    def room(self) -> int:
        """How many more clients there may be."""
        return self.tunables.maxclients - len(self.clients)

    def reject(self) -> bytes:
        """The last word to a client that is one too many, which is counted."""
        self.counters.connections += 1
        self.counters.rejected += 1
        return b"-ERR max number of clients reached\r\n"

    def refusal(self, problem: TimelineError) -> bytes:
        """The error reply, counted."""
        self.counters.errors[problem.code] += 1
        self.seconds += _REFUSAL_SECONDS
        return replies.error(problem)

    def own_mistake(self, problem: Exception) -> CommandError:
        """The answer where the daemon itself is at fault, which the log tells with a trace."""
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
            return self.engine.count

    def refuse_late(self, connection: Connection, problem: TimelineError) -> bytes:
        """The error reply to a command that has waited; it fails, though it began well."""
        command = connection.session.last
        if command is not None:
            command.account.failures += 1
        return self.refusal(problem)

    def note(
        self,
        session: Session,
        command: Command,
        args: list[bytes],
        seconds: float,
        calls: int = 1,
    ) -> None:
        """Accounts calls of a command, of which the first is `args`, and remembers that one if on
        the average they took longer than slowlog_log_slower_than.
        """
        session.last = command
        account = command.account
        account.calls += calls
        account.seconds += seconds
        slow = self.tunables.slow_after
        if seconds >= slow and seconds >= slow * calls and "skip_slowlog" not in command.flags:
            self._note_slow(session, seconds / calls, args)

    def _note_slow(self, session: Session, seconds: float, args: list[bytes]) -> None:
        most = self.tunables.slowlog_max_len
        shown = [argument[:128] for argument in args[:32]]
        self.slow.appendleft(
            SlowCommand(
                self.slow_id,
                int(time.time()),
                int(seconds * 1e6),
                shown,
                session.address,
                session.name,
            )
        )
        self.slow_id += 1
        while len(self.slow) > most:
            self.slow.pop()
