"""Metrics for Prometheus, read on every scrape from what the daemon counts anyway.

Rule: nothing is kept here, and nothing is counted for it command by command. Each metric is named
once, here, with its help. docs/metrics.md explains each, and a test compares the two. The number of
time series is bounded: there is one for each command, error code and part of the store, and for the
first hundred consumers of the log by name.

`collect` runs on the loop, where what it reads does not change under it; `render` may run anywhere.
While the storage is closed after a failure, what only it knows is left out.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from timeline.engine.statistics import Histogram
from timeline.errors import BusyError, ReadOnlyError, TimelineError

from ..config.config import VERSION
from ..registry.accounting import Account
from ..registry.lookup import every
from ..service.service import Service

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_CONSUMERS: Final = 100
# Shown from the start, so that the first of them is a rise that an alert sees.
_CODES: Final = ("BUSY", "READONLY", "UNCERTAIN", "CORRUPT", "INDEXLAG", "ERR")
_PROCESS: Final = ProcessCollector(registry=None)


@dataclass(frozen=True, slots=True)
class Scrape(Collector):
    """What one scrape found."""

    families: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


def collect(service: Service) -> Scrape:
    """Everything as it is now. Call it on the loop's thread."""
    found: list[Metric] = []
    with service.engine.lock:
        for part in _PARTS:
            try:
                found += part(service)
            except TimelineError:  # the storage is closed until the disk takes bytes again
                continue
    found += _PROCESS.collect()
    return Scrape(found)


def render(scrape: Scrape) -> bytes:
    """In the text format of Prometheus."""
    return generate_latest(scrape)


# --- what a metric is made of ---------------------------------------------------------------------


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"timeline_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"timeline_{name}", text, value=value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"timeline_{name}", text, labels=[label])
    for each, value in values.items():
        family.add_metric([each], value)
    return family


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"timeline_{name}", text, labels=[label])
    for each, value in values.items():
        family.add_metric([each], value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    bounds = [*(f"{float(bound):g}" for bound in histogram.bounds), "+Inf"]
    counts = accumulate(histogram.counts)  # Prometheus counts what is at most each bound
    buckets = list(zip(bounds, map(float, counts), strict=True))
    return HistogramMetricFamily(f"timeline_{name}", text, buckets, histogram.sum)


# --- what there is --------------------------------------------------------------------------------


def _state(service: Service) -> Iterator[Metric]:
    """Read from memory alone, so that it is there whatever happened to the disk."""
    engine, refusal = service.engine, service.engine.refusal
    build = GaugeMetricFamily(
        "timeline_build_info",
        "Always 1; the labels say what runs.",
        labels=["version", "durability", "fsync"],
    )
    where = "thread" if engine.threaded else "inline"
    build.add_metric([VERSION, engine.options.durability, where], 1)
    yield build
    yield _gauge(
        "uptime_seconds",
        "Seconds since the daemon began to serve.",
        service.loop.time() - service.started,
    )
    yield _gauge("writing", "1 while writes are taken, 0 while they are refused.", refusal is None)
    yield _gauges(
        "write_refusal",
        "1 for the error that writes are refused with, READONLY or BUSY.",
        "code",
        {
            "BUSY": isinstance(refusal, BusyError),
            "READONLY": isinstance(refusal, ReadOnlyError),
        },
    )
    counted = engine.statistics
    yield _counter(
        "write_failures", "Failed writes and fsyncs that turned writing off.", counted.poisoned
    )
    yield _counter("write_recoveries", "Times that writing was turned on again.", counted.healed)


def _commits(service: Service) -> Iterator[Metric]:
    figures, counted = service.engine.figures(), service.engine.statistics
    yield _counter("commits", "Commits that are durable.", counted.groups.sum)
    yield _histogram("group_commits", "Commits in each group of the log.", counted.groups)
    yield _histogram("fsync_seconds", "Seconds that fsyncs of the log took.", counted.fsyncs)
    yield _counter("appends", "Entries appended.", counted.appends)
    yield _counter("deliveries", "References delivered into in-boxes.", counted.deliveries)
    yield _gauge("lsn", "The newest commit.", figures.lsn)
    yield _gauge("sealed_lsn", "The newest commit that is sealed.", figures.sealed_lsn)


def _clients(service: Service) -> Iterator[Metric]:
    counters, clients = service.counters, service.clients.values()
    settings = service.configuration.settings
    yield _gauge("connections", "Open connections.", len(service.clients))
    yield _gauge("connections_limit", "Connections that may be open.", service.tunables.maxclients)
    yield _counter("connections_opened", "Connections accepted.", counters.connections)
    yield _counter(
        "connections_rejected", "Connections refused above the limit.", counters.rejected
    )
    yield _counter(
        "connections_dropped",
        "Connections closed by the daemon: slow readers, protocol errors.",
        counters.disconnected,
    )
    yield _counter("received_bytes", "Bytes received.", counters.input_bytes)
    yield _counter("sent_bytes", "Bytes sent.", counters.output_bytes)
    yield _gauge(
        "input_waiting_bytes",
        "Bytes of received commands that wait to be carried out.",
        sum(client.input_bytes for client in clients),
    )
    yield _gauge(
        "output_waiting_bytes",
        "Bytes of replies and pushes that clients have yet to take.",
        sum(client.output_bytes for client in clients),
    )
    yield _gauge(
        "clients_bytes",
        "Bytes of memory that clients hold.",
        sum(client.holds() for client in clients),
    )
    yield _gauge(
        "clients_bytes_limit",
        "Bytes that clients may hold, before those with most are closed.",
        service.tunables.clients_bytes,
    )
    yield _counter(
        "clients_evicted",
        "Clients closed because all together held too much.",
        service.holdings.evicted,
    )
    yield _gauge("waiting_replies", "Long replies that wait for room.", service.holdings.waiting)
    yield _gauge("blocked_clients", "Reads that wait for something to come.", len(service.waiters))
    yield _gauge(
        "blocked_clients_limit", "Reads that may wait for something to come.", settings.blocked
    )
    yield _gauge(
        "waiting_writers", "Clients whose write waits for room in memory.", service.pipeline.waiting
    )
    yield _counter(
        "write_waits", "Writes that had to wait for room in memory.", service.pipeline.waits
    )
    yield _gauge("subscribers", "Devices that are pushed to.", len(service.push))
    yield _counter("pushes", "Frames and notes pushed.", service.push.pushed)
    yield _gauge("channels", "Channels that somebody listens to.", len(service.channels.names()))
    yield _counter("published", "Messages published on channels.", service.channels.published)
    yield _gauge(
        "push_waiting_bytes", "Bytes of messages to be pushed.", service.push.waiting_bytes
    )


def _commands(service: Service) -> Iterator[Metric]:
    used = {
        each.name.lower(): each.account
        for each in every()
        if each.account.calls or each.account.rejections
    }

    def by_command(count: Callable[[Account], float]) -> dict[str, float]:
        return {name: count(account) for name, account in used.items()}

    yield _counters("commands", "Commands carried out.", "command", by_command(lambda of: of.calls))
    yield _counters(
        "command_seconds",
        "Seconds spent in commands, without what they waited for.",
        "command",
        by_command(lambda of: of.seconds),
    )
    yield _counters(
        "command_failures", "Commands that failed.", "command", by_command(lambda of: of.failures)
    )
    yield _counters(
        "command_rejections",
        "Commands refused before they began.",
        "command",
        by_command(lambda of: of.rejections),
    )
    yield _counters(
        "errors",
        "Error replies by their first word.",
        "code",
        dict.fromkeys(_CODES, 0) | service.counters.errors,
    )
    yield _counter("slow_commands", "Commands noted in SLOWLOG.", service.slow.noted)


def _memory(service: Service) -> Iterator[Metric]:
    options, figures = service.engine.options, service.engine.figures()
    lists = service.messages.lists
    homes = service.feeds.homes
    yield _gauge(
        "unsealed_bytes", "Bytes in memory that are not sealed yet.", figures.unsealed_bytes
    )
    yield _gauge(
        "unsealed_bytes_limit",
        "Bytes that may be unsealed, before writes wait.",
        options.unsealed_bytes,
    )
    yield _gauge(
        "unsealed_timelines",
        "Timelines with entries that are not sealed yet.",
        figures.unsealed_timelines,
    )
    yield _gauge(
        "unsealed_timelines_limit",
        "Timelines that may have unsealed entries, before writes wait.",
        options.tails,
    )
    yield _gauges(
        "cache_bytes",
        "Bytes in caches.",
        "cache",
        {
            "segments": figures.segment_cache_bytes,
            "lists": lists.size,
            "homes": homes.size,
        },
    )
    yield _gauges(
        "cache_bytes_limit",
        "Bytes that caches may hold.",
        "cache",
        {
            "segments": options.segment_cache_bytes,
            "lists": options.list_cache_bytes,
            "homes": options.home_cache_bytes,
        },
    )
    yield _counter(
        "segment_cache_hits", "Segments that were in the cache.", figures.segment_cache_hits
    )
    yield _counter(
        "segment_cache_misses", "Segments read from the disk.", figures.segment_cache_misses
    )
    yield _gauge("loaded_timelines", "Timelines ready in memory.", figures.loaded_timelines)
    yield _gauge(
        "loaded_timelines_limit", "Timelines that may be ready in memory.", options.timeline_cache
    )
    yield _gauge("cached_lists", "Lists of conversations in memory.", len(lists))
    yield _gauge("cached_homes", "Homes in memory: whom their owners follow.", len(homes))


def _background(service: Service) -> Iterator[Metric]:
    figures = service.engine.figures()
    yield _counter("sealing_passes", "Passes of sealing that ended.", figures.sealing_passes)
    yield _gauge(
        "sealing_fraction",
        "How much of the pass under way is sealed, 0 to 1.",
        figures.sealing_fraction,
    )
    yield _counter("segments_merged", "Segments merged by compaction.", figures.segments_merged)
    yield _gauge(
        "compaction_waiting", "Timelines that wait for compaction.", figures.compaction_waiting
    )
    yield _counter("retention_trimmed", "Entries trimmed by retention.", figures.retention_trimmed)
    yield _gauge(
        "inbox_floor_lsn",
        "In-boxes forgot what commits up to this one delivered.",
        figures.inbox_floor,
    )
    yield _gauge("inbox_sweeping", "1 while what in-boxes forgot is deleted.", figures.inbox_sweep)


def _disk(service: Service) -> Iterator[Metric]:
    engine = service.engine
    yield _gauge("timelines", "Raw timelines.", engine.view.count)
    files = engine.view.files()
    yield _gauges("store_bytes", "Bytes of files, by what they hold.", "family", files.bytes)
    yield _gauge(
        "segments",
        "Segments stored, as RocksDB estimates.",
        files.segments,
    )
    yield _gauge(
        "memtable_bytes",
        "Bytes that RocksDB has yet to write to files.",
        files.unwritten_bytes,
    )
    yield _gauge(
        "disk_free_bytes",
        "Free bytes of the disk on which the store lies.",
        shutil.disk_usage(engine.path).free,
    )


def _consumers(service: Service) -> Iterator[Metric]:
    """Of the commit log, the index among them."""
    engine, log = service.engine, service.engine.log
    checkpoints = log.checkpoints()
    yield _gauge(
        "log_kept_bytes",
        "Bytes of sealed log kept for consumers.",
        log.kept(engine.store.sealing.sealed),
    )
    yield _gauge(
        "log_kept_bytes_limit",
        "Bytes of sealed log that may be kept for consumers.",
        engine.options.log_bytes,
    )
    yield _gauge("log_consumers", "Consumers with a checkpoint.", len(checkpoints))
    shown = {
        name.decode("utf-8", "backslashreplace"): lsn
        for name, lsn in islice(checkpoints.items(), _CONSUMERS)
    }
    yield _gauges(
        "log_consumer_lag",
        "Commits that a consumer has yet to pass.",
        "consumer",
        {name: max(0, engine.applied - lsn) for name, lsn in shown.items()},
    )
    now = time.time()
    since = {lsn: log.waiting_since(lsn) / 1000 or now for lsn in set(shown.values())}
    yield _gauges(
        "log_consumer_lag_seconds",
        "Age of the oldest of these commits.",
        "consumer",
        {name: max(0.0, now - since[lsn]) for name, lsn in shown.items()},
    )


def _index(service: Service) -> Iterator[Metric]:
    indexer = service.index.serving
    if indexer is None:
        return
    figures = indexer.stats()

    def figure(name: str) -> int:
        return int(figures[f"index_{name}"])

    yield _gauge("index_alive", "1 while the index follows the log.", indexer.alive)
    yield _gauge("index_documents", "Documents that can be found.", figure("documents"))
    yield _gauge("index_bytes", "Bytes of the index.", figure("bytes"))
    yield _gauge("index_lag", "Commits that are not in the index yet.", figure("lag"))
    yield _gauge(
        "index_lag_seconds",
        "Seconds by which the index is behind the newest commit.",
        figure("lag_ms") / 1000,
    )
    yield _gauge("index_segments", "Segments of the index.", figure("segments"))
    yield _gauge("index_building", "1 while an index is being built.", figure("building"))
    yield _gauge(
        "index_build_documents", "Documents of that build so far.", figure("build_documents")
    )
    yield _counter("index_builds", "Builds of the index that ended.", figure("builds"))
    yield _counter("index_failures", "Failures of the index.", figure("failures"))


_PARTS: Final = (
    _state, _commits, _clients, _commands, _memory, _background, _disk, _consumers, _index,
)  # fmt: skip
