"""The promise: every metric is explained in docs/metrics.md, by the name, type and labels that a
scrape shows, and says what happened.
"""

from __future__ import annotations

import asyncio
import re
import urllib.request
from pathlib import Path
from typing import Final

import pytest
import redis
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.server.daemon import Daemon, Start
from timeline.engine.engine import Engine
from timeline.options import Options
from timeline_server.config.config import Configuration
from timeline_server.config.settings import Settings
from timeline_server.logs.logger import configure
from timeline_server.monitoring import metrics
from timeline_server.service.service import Service

PAGE: Final = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text("utf-8")
ROW: Final = re.compile(r"^\| `(\w+)` \| (\w+) \|([^|]*)\| (\S[^|]*) \|$", re.MULTILINE)


@pytest.fixture
def watched(start: Start) -> Daemon:
    return start("--metrics-port", "0", "--slowlog-log-slower-than", "0")


def scrape(daemon: Daemon) -> dict[str, Metric]:
    with daemon.client() as client:
        port = client.info("server")["metrics_port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    """The value of one sample, by the name that Prometheus stores."""
    for family in families.values():
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    raise AssertionError(f"{name} {labels} is not among the metrics")


def test_the_page_names_exactly_what_is_there(watched: Daemon) -> None:
    with watched.client() as client:
        client.xadd("t", {"f": "v"})
        with pytest.raises(redis.ResponseError):
            client.execute_command("NOSUCH")
    shown = set()
    for family in scrape(watched).values():
        name = family.name + ("_total" if family.type == "counter" else "")
        (labels, *others) = {tuple(sorted(set(each.labels) - {"le"})) for each in family.samples}
        assert not others, f"the samples of {name} have different labels"
        shown.add((name, family.type, labels))
    explained = [
        (name, kind, tuple(sorted(re.findall(r"`(\w+)`", labels))))
        for name, kind, labels, _ in ROW.findall(PAGE)
    ]
    assert len(explained) == len(set(explained))
    assert set(explained) == shown


def test_it_counts_what_was_done(watched: Daemon) -> None:
    with watched.client() as client:
        client.execute_command("CONV.CREATE", "team", "ann", "MEMBERS", 2, "bob", "cem")
        before = scrape(watched)
        for _ in range(3):
            client.execute_command("CONV.SEND", "team", "ann", "*", "text", "hi")
        client.xadd("t", {"f": "v"})
        client.xrange("t")
        with pytest.raises(redis.ResponseError):
            client.execute_command("TIMELINE.COMPACT", "nowhere")
    after = scrape(watched)
    for name, grown in {
        "timeline_commits_total": 4,
        "timeline_group_commits_sum": 4,
        "timeline_appends_total": 4,
        "timeline_deliveries_total": 9,
        "timeline_lsn": 4,
    }.items():
        assert value(after, name) - value(before, name) == grown, name
    assert value(after, "timeline_fsync_seconds_sum") > value(before, "timeline_fsync_seconds_sum")
    assert value(after, "timeline_group_commits_bucket", le="+Inf") == value(
        after, "timeline_group_commits_count"
    )
    assert value(after, "timeline_commands_total", command="conv.send") == 3
    assert value(after, "timeline_commands_total", command="xrange") == 1
    assert value(after, "timeline_command_seconds_total", command="conv.send") > 0
    assert value(after, "timeline_command_failures_total", command="timeline.compact") == 1
    assert value(after, "timeline_errors_total", code="NOTFOUND") == 1
    assert value(after, "timeline_slow_commands_total") >= 5
    assert value(after, "timeline_unsealed_bytes") > value(before, "timeline_unsealed_bytes")
    assert value(after, "timeline_timelines") == 1


def test_it_shows_who_is_there_and_who_waits(watched: Daemon) -> None:
    with watched.client() as client, watched.client(protocol=3) as device:
        client.execute_command("CONV.CREATE", "team", "ann", "MEMBERS", 1, "bob")
        listening = device.pubsub()
        listening.subscribe("sync:bob:phone")
        assert next(listening.listen())["type"] == "subscribe"
        assert next(listening.listen())["type"] == "message"  # where the device begins
        before = scrape(watched)
        client.execute_command("CONV.SEND", "team", "ann", "*", "text", "hi")
        assert next(listening.listen())["type"] == "message"
        after = scrape(watched)
        assert value(after, "timeline_subscribers") == 1
        assert value(after, "timeline_connections") >= 2
        grown = value(after, "timeline_pushes_total") - value(before, "timeline_pushes_total")
        assert grown == 1


def test_consumers_are_shown_with_what_they_lag(watched: Daemon) -> None:
    with watched.client() as client:
        client.xadd("t", {"f": "v"})
        lsn = client.info("timeline")["lsn"]
        client.execute_command("LOG.CONSUMER", 'Ünal "x"', lsn)
        for _ in range(4):
            client.xadd("t", {"f": "v"})
    found = scrape(watched)
    assert value(found, "timeline_log_consumer_lag", consumer='Ünal "x"') == 4
    assert value(found, "timeline_log_consumers") == 2
    assert 0 < value(found, "timeline_log_consumer_lag_seconds", consumer='Ünal "x"') < 60
    with watched.client() as client:
        client.execute_command("LOG.CONSUMER", 'Ünal "x"', lsn + 4)
    found = scrape(watched)
    assert value(found, "timeline_log_consumer_lag_seconds", consumer='Ünal "x"') == 0


def test_the_log_that_is_kept_for_a_consumer_is_weighed(start: Start) -> None:
    words = (
        "--seal-after-ms",
        "1",
        "--search",
        "no",
        "--log-bytes",
        "1m",
        "--log-file-bytes",
        "4k",
    )
    daemon = start("--metrics-port", "0", *words)
    with daemon.client() as client:
        assert value(scrape(daemon), "timeline_log_kept_bytes") == 0
        client.execute_command("LOG.CONSUMER", "slow", 0)
        client.xadd("t", {"f": "v" * 10_000})
        passes = client.info("timeline")["sealing_passes"]
        while client.info("timeline")["sealing_passes"] < passes + 2:
            client.xadd("t", {"f": "v"})
    found = scrape(daemon)
    assert value(found, "timeline_log_kept_bytes") > 10_000
    assert value(found, "timeline_log_kept_bytes_limit") == 1 << 20


def test_many_consumers_do_not_make_many_series(watched: Daemon) -> None:
    with watched.client() as client:
        for number in range(150):
            client.execute_command("LOG.CONSUMER", f"c{number}", 0)
    found = scrape(watched)
    assert value(found, "timeline_log_consumers") == 151
    assert len(found["timeline_log_consumer_lag"].samples) == 100


@pytest.mark.parametrize("fsync", ["inline", "thread"])
def test_what_searches_is_left_out_without_search(start: Start, fsync: str) -> None:
    daemon = start("--metrics-port", "0", "--search", "no", "--fsync", fsync)
    found = scrape(daemon)
    assert not [name for name in found if name.startswith("timeline_index")]
    labels = found["timeline_build_info"].samples[0].labels
    assert labels["fsync"] == fsync
    assert labels["durability"] == "sync"


def test_a_storage_that_is_closed_leaves_out_only_what_it_alone_knows(
    tmp_path: Path, loggers: None
) -> None:
    """As after a failure, until the disk takes bytes again."""
    configuration = Configuration(Settings(), Options(fsync="inline", search=False))

    async def look() -> tuple[str, str]:
        loop = asyncio.get_running_loop()
        with Engine(tmp_path / "data", configuration.engine) as engine:
            service = Service(engine, configuration, loop, configure("error", "text")[0], stop, 1)
            engine.appender.append(b"t", [b"f", b"v"])
            engine.flush()
            engine.seal()
            before = metrics.render(metrics.collect(service)).decode()
            engine.pipeline.poison(OSError("no space left"))
            engine.store.close()
            return before, metrics.render(metrics.collect(service)).decode()

    def stop() -> None: ...

    before, after = asyncio.run(look())
    assert 'timeline_write_refusal{code="READONLY"} 1.0' in after
    assert "timeline_commits_total 1.0" in after
    only_there = {"timeline_timelines", "timeline_store_bytes", "timeline_log_consumers"}
    assert only_there <= names(before)
    assert not only_there & names(after)
    assert {"timeline_unsealed_bytes", "process_open_fds", "timeline_lsn"} <= names(after)


def names(text: str) -> set[str]:
    return {family.name for family in text_string_to_metric_families(text)}


def test_errors_that_alerts_wait_for_are_there_before_the_first(watched: Daemon) -> None:
    found = scrape(watched)
    for code in ("BUSY", "READONLY", "UNCERTAIN", "CORRUPT", "INDEXLAG"):
        assert value(found, "timeline_errors_total", code=code) == 0


def test_the_page_has_every_field_of_our_own_section_of_info(watched: Daemon) -> None:
    with watched.client() as client:
        found = client.info("timeline")
    part = PAGE.partition("## INFO timeline")[2]
    explained = set(re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE))
    assert sorted(set(found) - explained) == [], "docs/metrics.md is to explain these too"
    assert sorted(explained - set(found)) == [], "and not these"
