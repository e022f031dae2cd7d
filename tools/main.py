"""The entry of the command line `timeline`: gathers the verbs, does none of their work."""

from __future__ import annotations

import click

from .backup import backup
from .bench import bench
from .cat import cat
from .compact import compact
from .completion import completion
from .conversation import conversation_verb
from .export import export
from .importing import import_
from .inspect import inspect
from .ls import ls
from .reindex import reindex
from .repair import repair
from .restore import restore
from .retention import retention
from .search import search
from .stats import stats
from .tail import tail
from .top import top
from .trim import trim
from .user import user_verb
from .verify import verify


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="timeline-engine", prog_name="timeline")
def main() -> None:
    """Look into the timelines of a data directory and take care of them."""


main.add_command(backup)
main.add_command(bench)
main.add_command(cat)
main.add_command(compact)
main.add_command(completion)
main.add_command(conversation_verb)
main.add_command(export)
main.add_command(import_)
main.add_command(inspect)
main.add_command(ls)
main.add_command(reindex)
main.add_command(repair)
main.add_command(restore)
main.add_command(retention)
main.add_command(search)
main.add_command(stats)
main.add_command(tail)
main.add_command(top)
main.add_command(trim)
main.add_command(user_verb)
main.add_command(verify)
