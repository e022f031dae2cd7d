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

from .wire import Wire

_LOOK_SECONDS = 0.2


@click.command(
    epilog="""\b
Examples:
  timeline reindex data                          a store that no process has open
  timeline reindex --connect 127.0.0.1:7420      a daemon, in its background
  timeline reindex --connect :7420 --no-wait"""
)
@click.argument(
    "directory", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--connect", metavar="HOST:PORT", help="A live daemon instead of a directory.")
@click.option(
    "--wait/--no-wait", default=True, help="Return when it is done (the default), or not."
)
def reindex(directory: Path | None, connect: str | None, *, wait: bool) -> None:
    """Build the search index of the store in DIRECTORY, or of a daemon, anew."""
    try:
        if connect is not None and directory is None:
            documents = _live(connect, wait=wait)
        elif directory is not None and connect is None:
            documents = _stopped(directory)
        else:
            raise click.UsageError("name a DIRECTORY, or a daemon with --connect HOST:PORT")
    except (timeline.TimelineError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if documents is None:
        click.echo("the daemon builds the index anew; INFO timeline shows how far it is")
    else:
        click.echo(f"the index was built anew: {documents:,} documents")


class _Progress(NamedTuple):
    """How far a build is: whether it is done, and the documents so far or in all."""

    done: bool
    documents: int


def _stopped(directory: Path) -> int:
    with timeline.open(directory, create=False) as database:
        indexer = database.messaging.messages.searchable
        indexer.rebuild()
        return _follow(lambda: _progress(indexer.stats(), 0))


def _live(address: str, *, wait: bool) -> int | None:
    with Wire(address) as daemon:
        before = int(daemon.info("timeline").get("index_builds", 0))
        daemon.call("TIMELINE.REINDEX")
        if not wait:
            return None
        return _follow(lambda: _progress(daemon.info("timeline"), before))


def _progress(figures: Mapping[str, object], before: int) -> _Progress:
    done = int(str(figures["index_builds"])) > before
    name = "index_documents" if done else "index_build_documents"
    return _Progress(done, int(str(figures[name])))


def _follow(look: Callable[[], _Progress]) -> int:
    """Show how far a build is until it is done; the documents it has."""
    with click.progressbar(length=1, label="indexing", show_eta=False, item_show_func=str) as bar:
        while not (progress := look()).done:
            bar.update(0, f"{progress.documents:,} documents")
            time.sleep(_LOOK_SECONDS)
        bar.update(1)
    return progress.documents
