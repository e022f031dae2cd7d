"""The entry of the command line `timeline`: gathers the verbs, does none of their work."""

from __future__ import annotations

import click

from .completion import completion
from .inspect import inspect
from .reindex import reindex


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="timeline", prog_name="timeline")
def main() -> None:
    """Look into the timelines of a data directory and take care of them."""


main.add_command(completion)
main.add_command(inspect)
main.add_command(reindex)
