"""Consent: a verb removes entries for good only after somebody agreed.

    --dry-run   only say how many would go
    --yes       go on without asking
    neither     ask on a terminal; elsewhere refuse, since nobody can answer

Rule: the question says how many entries will go. If none will, it is not asked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from .console import Output

Function = TypeVar("Function", bound=Callable[..., Any])


def consent(function: Function) -> Function:
    """Give a verb the options `dry_run` and `yes`."""
    with_yes = click.option("--yes", "-y", is_flag=True, help="Remove without asking.")(function)
    dry = click.option("--dry-run", is_flag=True, help="Only say how many entries would go.")
    return dry(with_yes)


def ask(output: Output, question: str, count: int, *, yes: bool) -> None:
    """Return if the removal may go on. Raises `click.ClickException` if not."""
    if yes or not count:
        return
    if output.as_json or not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.ClickException(f"{question}, for good: say --yes to do it")
    if not click.confirm(f"{question}, for good. Go on?", err=True):
        raise click.ClickException("nothing was changed")


def entries(count: int) -> str:
    return f"{count:,} {'entry' if count == 1 else 'entries'}"
