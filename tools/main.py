"""The table of verbs: which there are, and in which module each one is.

Rule: a verb is imported when it is called, so that no verb waits for what only others need. So the
summaries that `--help` and a shell's completion show stand here.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Final, NamedTuple

import click
from click.shell_completion import CompletionItem


class _Verb(NamedTuple):
    place: str  # module and name
    summary: str


# By purpose, in the order of the help.
_VERBS: Final[dict[str, dict[str, _Verb]]] = {
    "Look": {
        "ls": _Verb("look.ls:ls", "Timelines by the beginning of their names"),
        "cat": _Verb("look.cat:cat", "The entries of a timeline"),
        "tail": _Verb("look.tail:tail", "The newest entries or commits; -f follows"),
        "search": _Verb("look.search:search", "Find messages and entries by their words"),
        "conversation": _Verb("look.conversation:conversation_verb", "One conversation"),
        "user": _Verb("look.user:user_verb", "One user: devices, conversations, unread"),
        "inspect": _Verb("look.inspect:inspect", "What a store, timeline or segment is made of"),
        "stats": _Verb("look.stats:stats", "The figures of a daemon or a directory"),
        "top": _Verb("look.top:top", "What a daemon is doing now"),
    },
    "Take care": {
        "verify": _Verb("care.verify:verify", "Check every checksum and every relation"),
        "repair": _Verb("care.repair:repair", "Make a sound store from a damaged one"),
        "reindex": _Verb("care.reindex:reindex", "Rebuild the search index"),
        "compact": _Verb("care.compact:compact", "Merge small segments and give back space"),
        "retention": _Verb("care.retention:retention", "How much a timeline keeps"),
        "trim": _Verb("care.trim:trim", "Remove the oldest entries of a timeline"),
    },
    "Move": {
        "backup": _Verb("move.backup:backup", "Back up a store, also while it is in use"),
        "restore": _Verb("move.restore:restore", "Make a store from a backup"),
        "export": _Verb("move.export:export", "Write a store to a file"),
        "import": _Verb("move.importing:import_", "Read an exported file, or streams of a Redis"),
    },
    "Other": {
        "bench": _Verb("bench:bench", "Load a daemon and measure how long clients wait"),
        "completion": _Verb(
            "completion:completion", "Make a shell complete verbs, options and names"
        ),
    },
}
_ALL: Final = {name: verb for verbs in _VERBS.values() for name, verb in verbs.items()}


class _Verbs(click.Group):
    def list_commands(self, _: click.Context) -> list[str]:
        return list(_ALL)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        verb = _ALL.get(cmd_name)
        if verb is None:
            return None
        module, _, name = verb.place.partition(":")
        found: click.Command = getattr(import_module(f".{module}", __package__), name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _ALL:
            near = get_close_matches(args[0].lower(), _ALL, 1)
            if near:
                ctx.fail(f"there is no verb {args[0]!r}: did you mean {near[0]}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        widest = max(map(len, _ALL))
        for heading, verbs in _VERBS.items():
            with formatter.section(heading):
                formatter.write_dl(
                    [(name.ljust(widest), verb.summary) for name, verb in verbs.items()]
                )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        verbs = [
            CompletionItem(name, help=verb.summary)
            for name, verb in _ALL.items()
            if name.startswith(incomplete)
        ]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)


_HELP: Final = """Look into a store of timelines, keep it sound, and move it.

\b
timeline VERB DIR …                  a data directory
timeline VERB --connect HOST:PORT …  a live daemon
timeline VERB --help                 what a verb does, with examples
"""


@click.group(cls=_Verbs, help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="timeline-engine", prog_name="timeline")
def main() -> None:
    """The verb that is called does the work."""
