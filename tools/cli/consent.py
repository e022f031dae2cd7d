"""Consent: before a verb removes what cannot come back, somebody says so.

    --dry-run   only say how much would go
    --yes       go on without asking
    neither     ask on a terminal; elsewhere refuse, since nobody can be asked

Rule: how much would go is known before it is asked. Where that is nothing, nobody is asked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from .console import Output

Function = TypeVar("Function", bound=Callable[..., Any])


def consent(function: Function) -> Function:
    """The options `dry_run` and `yes` of a verb."""
    with_yes = click.option("--yes", "-y", is_flag=True, help="Remove without asking.")(function)
    dry = click.option("--dry-run", is_flag=True, help="Only say how many entries would go.")
    return dry(with_yes)


def ask(output: Output, question: str, count: int, *, yes: bool) -> None:
    """Return when what is asked may be done. Raises `click.ClickException`."""
    if yes or not count:
        return
    if output.as_json or not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.ClickException(
            f"{question}, for good: say --yes, or --dry-run to know how many and do nothing"
        )
    if not click.confirm(f"{question}, for good. Go on?", err=True):
        raise click.ClickException("nothing was changed")


def entries(count: int) -> str:
    return f"{count:,} {'entry' if count == 1 else 'entries'}"
