"""The promise: a store that is in use is left alone, and the error says what to do instead."""

from __future__ import annotations

from pathlib import Path

from tests.server.daemon import Daemon
from tests.tools.installed import done, refused


def test_a_store_in_use_is_named_with_what_to_do_instead(daemon: Daemon, store: Path) -> None:
    for verb, *rest in (
        ["compact"],
        ["trim", "x", "--before", "1"],
        ["retention", "x", "--none"],
        ["reindex"],
    ):
        problem = refused(verb, store, *rest)
        assert "in use by another process" in problem
        assert problem.count("stop it") == 1
        assert f": stop it, or use: timeline {verb} --connect HOST:PORT …" in problem
    assert "--connect" not in refused("repair", store, "--in-place"), "a daemon cannot do that"


def test_a_store_in_use_tells_what_would_be_removed(daemon: Daemon, store: Path) -> None:
    for verb, bound in (("trim", "--before"), ("retention", "--max-length")):
        for where in ([store], ["--connect", f"127.0.0.1:{daemon.port}"]):
            said = done(verb, *where, "sensor:1", bound, "501", "--dry-run")
            assert said == f"{500 if verb == 'trim' else 499} entries would be removed\n"
