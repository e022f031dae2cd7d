"""`timeline inspect DIR`: what a stopped store holds, by kind: timelines, conversations, users.

Rule: read through the embedded API and printed as it is met, so that a store of any size is shown
in little memory. A kind of which there is nothing is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

import timeline
from timeline.errors import NoPermissionError

_TIMELINE = "{:>12} {:>12} {:>12}  {}"
_CONVERSATION = "{:>12} {:>12} {:>12} {:>12} {:>12}  {}"
_USER = "{:>12}  {}"


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--prefix",
    default="",
    help="Only what lies in timelines whose name begins with this; @conv: for conversations, "
    "@user: for users.",
)
def inspect(directory: Path, prefix: str) -> None:
    """List what the store in DIRECTORY holds, which no process may have open."""
    try:
        with timeline.open(directory, create=False, search=False) as database:
            for line in _Listing(database, prefix.encode()).lines():
                click.echo(line)
    except timeline.TimelineError as error:
        raise click.ClickException(str(error)) from error


class _Listing:
    def __init__(self, database: timeline.Database, prefix: bytes) -> None:
        self._database = database
        self._prefix = prefix
        self._totals: list[str] = []

    def lines(self) -> Iterator[str]:
        yield from self._timelines()
        yield from self._conversations()
        yield from self._users()
        found = ", ".join(self._totals) or "nothing"
        yield f"{found}; {_counted(self._database.log.head, 'commit')}"

    def _names(self, kind: bytes) -> Iterator[bytes]:
        """The names of one kind that are asked for, less what makes them of that kind."""
        if self._prefix.startswith(kind):
            wanted = self._prefix
        elif kind.startswith(self._prefix):
            wanted = kind
        else:
            return
        for name in self._database.timelines(wanted):
            yield name[len(kind) :]

    def _timelines(self) -> Iterator[str]:
        if self._prefix.startswith(b"@"):
            return
        count = entries = 0
        for name in self._names(b""):
            if not count:
                yield _TIMELINE.format("first", "head", "entries", "timeline")
            extent = self._database.timeline(name).extent()
            count += 1
            entries += extent.length
            yield _TIMELINE.format(extent.first, extent.head, extent.length, _shown(name))
        some = _counted(entries, "entry", "entries")
        self._totals.append(f"{some} in {_counted(count, 'timeline')}")

    def _conversations(self) -> Iterator[str]:
        count = messages = 0
        for name in self._names(b"@conv:"):
            if not count:
                yield _CONVERSATION.format(
                    "first", "head", "messages", "events", "members", "conversation"
                )
            extent = self._database.timeline(b"@conv:" + name).extent()
            events = self._database.timeline(b"@event:" + name).extent().length
            count += 1
            messages += extent.length
            yield _CONVERSATION.format(
                extent.first, extent.head, extent.length, events, self._members(name), _shown(name)
            )
        if count:
            self._totals.append(
                f"{_counted(messages, 'message')} in {_counted(count, 'conversation')}"
            )

    def _members(self, conversation: bytes) -> str:
        try:
            return str(self._database.messaging.info(conversation).members)
        except NoPermissionError:
            return "deleted"  # as far as its members: the command was not finished

    def _users(self) -> Iterator[str]:
        count = 0
        for name in self._names(b"@user:"):
            if not count:
                yield _USER.format("devices", "user")
            count += 1
            yield _USER.format(len(self._database.messaging.devices(name)), _shown(name))
        if count:
            self._totals.append(_counted(count, "user"))


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
