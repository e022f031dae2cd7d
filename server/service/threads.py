"""Work that would hold up the loop, done on other threads; its client waits meanwhile.

Rule: there are three pools of threads, so that no kind of work waits for another: jobs of minutes
(compaction, backups), searches, and the rest, which is short. Work holds the engine's lock only
where it takes it itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from timeline.admin.progress import Progress
from timeline.search.serving import Serving, lagging

from ..clients.blocking import Reader, Waiter, Waiters
from ..clients.state import ClientState
from .jobs import Job

# Threads. They share one interpreter, so more of them would finish nothing sooner.
_JOBS_AT_A_TIME: Final = 2
_SEARCHES_AT_A_TIME: Final = 4
_SHORT_AT_A_TIME: Final = 2


class Threads:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        waiters: Waiters,
        refusal: Callable[[ClientState, Exception], bytes],
    ) -> None:
        self._loop = loop
        self._waiters = waiters
        self._refusal = refusal  # the reply to a command whose work failed
        self.jobs: list[Job] = []  # that wait or are under way
        # Each starts its threads when there is something to do.
        self._for_jobs = ThreadPoolExecutor(_JOBS_AT_A_TIME, "job")
        self._for_searches = ThreadPoolExecutor(_SEARCHES_AT_A_TIME, "search")
        self._for_short = ThreadPoolExecutor(_SHORT_AT_A_TIME, "short")

    def detach(self, client: Reader, work: Callable[[], bytes]) -> None:
        """Answers with what `work`, which is short, returns."""
        self._start(self._for_short, self._waiters.hold(client, soon=True), work)

    def detach_search(self, client: Reader, work: Callable[[], bytes]) -> None:
        """As `detach`, for a search, which may take longer."""
        self._start(self._for_searches, self._waiters.hold(client, soon=True), work)

    def detach_job(self, client: Reader, command: str, work: Callable[[Progress], bytes]) -> None:
        """As `detach`, for work that tells how far it is, and ends early when its client goes. It
        may wait for other work of its kind.
        """
        job = Job(command, client.session.id)
        self.jobs.append(job)

        def ended() -> None:
            job.drop()
            running.cancel()  # which does nothing once it has begun

        waiter = self._waiters.hold(client, ended)
        running = self._start(
            self._for_jobs, waiter, lambda: work(job.tell), lambda: self.jobs.remove(job)
        )

    def detach_when_indexed(
        self,
        client: Reader,
        indexer: Serving,
        lsn: int,
        seconds: float,
        work: Callable[[], bytes],
    ) -> None:
        """As `detach_search`, once the index has reached `lsn`; INDEXLAG if that takes longer."""
        waiter = self._waiters.hold(client, soon=True)

        def go_on() -> None:
            timer.cancel()
            self._start(self._for_searches, waiter, work)

        def fail() -> None:
            call_off()
            refusal = self._refusal(client.session, lagging(indexer.reached, lsn))
            self._waiters.answer(waiter, refusal)

        def reached(there: bool) -> None:  # on the indexer's thread
            with suppress(RuntimeError):  # the loop has ended, and the connection with it
                self._loop.call_soon_threadsafe(go_on if there else fail)

        timer = self._loop.call_later(seconds, fail)
        call_off = indexer.when_reached(lsn, reached)

    def _start(
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
            except (
                Exception
            ) as problem:  # also a mistake of ours: the client must not wait for ever
                reply = self._refusal(waiter.client.session, problem)
            self._waiters.answer(waiter, reply)

        running = threads.submit(work)
        asyncio.wrap_future(running).add_done_callback(done)
        return running
