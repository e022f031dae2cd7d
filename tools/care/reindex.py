"""`timeline reindex`: builds the search index anew, of a stopped store or of a live daemon.

Rule: the index there is serves until the new one has caught up, so that a build which is given up
half way costs nothing; it only shows how far it is, the indexer does the work.
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
    """How far a build is: whether it is done, and the documents so far or in all."""

    done: bool
    documents: int


@verb(
    "reindex",
    examples="""
timeline reindex data --config timelined.toml  a store that no process has open, as its daemon would
timeline reindex --connect 127.0.0.1:7420      a daemon, in its background
timeline reindex --connect :7420 --no-wait     return at once""",
    configured=True,
)
@click.option("--wait/--no-wait", default=True, help="Return when it is done, or at once.")
def reindex(
    *,
    directory: Path | None,
    daemon: Wire | None,
    options: Options,
    output: Output,
    wait: bool,
) -> None:
    """Build the search index of the store in DIRECTORY, or of a daemon, anew.

    Made with other options than its daemon has, it would be made once more by that.
    """
    if daemon is not None:
        before = int(daemon.info("timeline").get("index_builds", 0))
        daemon.call("TIMELINE.REINDEX")
        if not wait:
            output.line("the daemon builds the index anew; INFO timeline shows how far it is", {})
            return
        documents = _follow(output, lambda: _progress(daemon.info("timeline"), before))
    else:
        assert directory is not None
        with timeline.open(directory, options, search=True) as database:
            indexer = database.messaging.messages.searchable
            indexer.rebuild()
            documents = _follow(output, lambda: _progress(indexer.stats(), 0))
    output.line(f"the index was built anew: {documents:,} documents", {"documents": documents})


def _progress(figures: Mapping[str, object], before: int) -> _Progress:
    done = int(str(figures["index_builds"])) > before
    name = "index_documents" if done else "index_build_documents"
    return _Progress(done, int(str(figures[name])))


def _follow(output: Output, look: Callable[[], _Progress]) -> int:
    """Show how far a build is until it is done; the documents it has."""
    with output.bar("indexing") as progress:
        while not (found := look()).done:
            progress(found.documents, 0)
            time.sleep(_LOOK_SECONDS)
    return found.documents
