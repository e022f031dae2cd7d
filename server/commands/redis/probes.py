"""What tools and libraries ask any Redis before they go on: ROLE, WAIT, TIME, ACL, MODULE, LATENCY,
OBJECT, MEMORY.

Rule: what has a meaning here is answered as Redis would answer. The rest is answered as by a Redis
in which that thing is absent or turned off, or refused with a sentence that says where to look.
"""

from __future__ import annotations

import time

from timeline.admin.inspection import inspect_timeline
from timeline.engine.view import View
from timeline.errors import UsageError

from ...errors import CommandError
from ...registry.command import Arguments
from ...service.session import Session
from ...wire import replies
from .. import arguments
from ..arguments import syntax_error
from ..declaring import container, plain, read
from .info import memory
from .keys import is_visible

_SAMPLES = 5  # entries whose size is looked at, as in Redis
_MOST_SAMPLES = 1_000  # entries looked at when the client asks for all


@plain("TIME", "", "The time of the server: seconds since 1970 and microseconds.", flags="fast")
def time_(session: Session, args: Arguments) -> bytes:
    seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    return replies.bulks([b"%d" % seconds, b"%d" % microseconds])


@plain("ROLE", "", "master, the newest commit, and no replicas.", flags="noscript fast")
def role(session: Session, args: Arguments) -> bytes:
    return replies.encode(["master", session.service.engine.applied, []], session.resp)


@read(  # so that what the client wrote before is durable
    "WAIT",
    "replicas milliseconds",
    "Answers 0 immediately: there are no replicas. Every write is durable when it is answered.",
    group="generic",
    flags="noscript",
)
def wait(session: Session, args: Arguments, _: View) -> bytes:
    arguments.integer(args[1])
    arguments.milliseconds(args[2])
    return replies.integer(0)


container("ACL", "Who may do what.")


@plain("ACL WHOAMI", "", "The user of this connection.", flags="noscript loading stale")
def whoami(session: Session, args: Arguments) -> bytes:
    return replies.bulk(session.user.encode())


container("MODULE", "Modules, of which there are none.")


@plain("MODULE LIST", "", "An empty list.", flags="admin noscript")
def module_list(session: Session, args: Arguments) -> bytes:
    return replies.EMPTY_ARRAY


container("LATENCY", "Spikes of latency, which are not kept: see SLOWLOG and the metrics.")


@plain("LATENCY LATEST", "", "An empty list.", flags="admin noscript loading stale")
def latency_latest(session: Session, args: Arguments) -> bytes:
    return replies.EMPTY_ARRAY


@plain("LATENCY HISTORY", "event", "An empty list.", flags="admin noscript loading stale")
def latency_history(session: Session, args: Arguments) -> bytes:
    return replies.EMPTY_ARRAY


@plain("LATENCY RESET", "[event...]", "0: there is none.", flags="admin noscript loading stale")
def latency_reset(session: Session, args: Arguments) -> bytes:
    return replies.integer(0)


container("OBJECT", "How a value is kept.", group="generic")


@read(
    "OBJECT ENCODING", "key", "`stream`, or null.", group="generic", flags="readonly", access="RO"
)
def encoding(session: Session, args: Arguments, view: View) -> bytes:
    there = is_visible(view, args[2])
    return replies.bulk(b"stream") if there else replies.nil(session.resp)


@read("OBJECT REFCOUNT", "key", "1, or null.", group="generic", flags="readonly", access="RO")
def refcount(session: Session, args: Arguments, view: View) -> bytes:
    return replies.integer(1) if is_visible(view, args[2]) else replies.nil(session.resp)


@read("OBJECT FREQ", "key", "An error, or null.", group="generic", flags="readonly", access="RO")
def freq(session: Session, args: Arguments, view: View) -> bytes:
    if not is_visible(view, args[2]):
        return replies.nil(session.resp)
    raise CommandError(
        "An LFU maxmemory policy is not selected, access frequency not tracked: nothing is evicted "
        "here"
    )


@read(
    "OBJECT IDLETIME", "key", "An error, or null.", group="generic", flags="readonly", access="RO"
)
def idletime(session: Session, args: Arguments, view: View) -> bytes:
    if not is_visible(view, args[2]):
        return replies.nil(session.resp)
    raise CommandError(
        "the time of the last read is not kept: TIMELINE.RANGE key REV COUNT 1 says when the "
        "newest entry came"
    )


container("MEMORY", "Memory, and what timelines take.")


@read(
    "MEMORY USAGE",
    "key [SAMPLES count]",
    "About how many bytes a timeline takes, on the disk and in memory, or null.",
    flags="readonly",
    complexity="O(N) for N segments",
    access="RO",
)
def usage(session: Session, args: Arguments, view: View) -> bytes | None:
    samples = _SAMPLES
    if len(args) > 3:
        if len(args) != 5 or args[3].upper() != b"SAMPLES":
            raise syntax_error()
        samples = arguments.integer(args[4])
        if samples < 0:
            raise syntax_error()
    if session.executing:
        raise UsageError("MEMORY USAGE is not part of a commit: call it outside MULTI")
    name, engine = args[2], session.service.engine
    if not is_visible(view, name):
        return replies.nil(session.resp)

    def work() -> bytes:
        facts = inspect_timeline(engine, name)
        most = min(samples or _MOST_SAMPLES, _MOST_SAMPLES)
        with engine.lock:
            timeline = engine.view.find(name)
            page = (
                None if timeline is None else engine.view.read(timeline, limit=most, reverse=True)
            )
        mean = sum(map(len, page.chunks)) / page.count if page is not None and page.count else 0
        return replies.integer(facts.segment_bytes + int(mean * facts.tail))

    session.service.threads.detach(session.client, work)
    return None


@plain("MEMORY STATS", "", "What the daemon takes, in bytes.")
def stats(session: Session, args: Arguments) -> bytes:
    service = session.service
    found, figures = memory(service), service.engine.figures()
    return replies.encode(
        {
            "peak.allocated": found["used_memory_peak"],
            "total.allocated": found["used_memory"],
            "clients.normal": found["mem_clients_normal"],
            "keys.count": service.timelines(),
            "unsealed.bytes": figures.unsealed_bytes,
            "cache.segments": figures.segment_cache_bytes,
            "cache.lists": service.messages.lists.size,
        },
        session.resp,
    )


@plain("MEMORY DOCTOR", "", "Where to look.")
def doctor(session: Session, args: Arguments) -> bytes:
    return replies.encode(
        "Memory is bounded by options: unsealed_bytes, segment_cache_bytes and list_cache_bytes, "
        "clients_bytes for all clients, backlog_bytes and output_bytes for each of them. INFO "
        "memory and MEMORY STATS say what is taken now.",
        session.resp,
    )
