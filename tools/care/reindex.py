"""`timeline reindex`: rebuilds the search index of a stopped store or a live daemon.

Rule: the old index serves until the new one has caught up, so a build that is stopped half way
costs nothing. The indexer does the work; this module shows how far it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import click

import timeline
from timeline.options import Options

from ..cli.console import Output
from ..cli.verb import verb
from ..sources.wire import Wire

_LOOK_SECONDS = 0.2


class _Progress(NamedTuple):
    """How far a build is: whether it is done, and how many documents it has."""

    done: bool
    documents: int


@verb(
    "reindex",
    examples="""
timeline reindex data --config timelined.toml  a stopped store, with the options of its daemon
timeline reindex --connect 127.0.0.1:7420      a daemon, in its background
timeline reindex --connect :7420 --no-wait     return immediately""",
    configured=True,
)
@click.option(
    "--wait/--no-wait", default=True, help="Return when it is done (default), or immediately."
)
def reindex(
    *,
    directory: Path | None,
    daemon: Wire | None,
    options: Options,
    output: Output,
    wait: bool,
) -> None:
    """Rebuild the search index of the store in DIRECTORY, or of a daemon.

    Give --config if the daemon has one: if the index is built with other options, the daemon builds
    it again.
    """
    if daemon is not None:
        before = int(daemon.info("timeline").get("index_builds", 0))
        daemon.call("TIMELINE.REINDEX")
        if not wait:
            output.line("the daemon rebuilds the index; INFO timeline shows how far it is", {})
            return
        documents = _follow(output, lambda: _progress(daemon.info("timeline"), before))
    else:
        assert directory is not None
        with timeline.open(directory, options, search=True) as database:
            indexer = database.index.searchable
            indexer.rebuild()
            documents = _follow(output, lambda: _progress(indexer.stats(), 0))
    output.line(f"the index was rebuilt: {documents:,} documents", {"documents": documents})


def _progress(figures: Mapping[str, object], before: int) -> _Progress:
    done = int(str(figures["index_builds"])) > before
    name = "index_documents" if done else "index_build_documents"
    return _Progress(done, int(str(figures[name])))


def _follow(output: Output, look: Callable[[], _Progress]) -> int:
    """Show how far a build is until it is done. Returns how many documents it has."""
    with output.bar("indexing") as progress:
        while not (found := look()).done:
            progress(found.documents, 0)
            time.sleep(_LOOK_SECONDS)
    return found.documents
