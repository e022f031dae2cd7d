"""How a verb is made: what every verb takes, and how every verb fails.

    timeline VERB DIR …                  a data directory
    timeline VERB --connect HOST:PORT …  a live daemon

Rule: every verb is made by `@verb`. By default it takes a directory or a daemon; a verb that takes
only one of them says so. An error of Timeline, an error of the system, and Ctrl-C each end in one
line and a status, never in a traceback.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from timeline.errors import LockedError, TimelineError, UsageError
from timeline.options import Options
from timeline_server.config import config as daemon_config

from ..sources.wire import connect_to_daemon
from .console import Output, error_line, shown
from .signals import Stopped, heed

Function = TypeVar("Function", bound=Callable[..., Any])
STOPPED = 130  # the status after Ctrl-C


class ExistingDirectory(click.Path):
    """A directory that exists. One without permission is not reported as missing."""

    def __init__(self) -> None:
        super().__init__(exists=True, file_okay=False, path_type=Path)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        try:
            os.scandir(value).close()
        except PermissionError:
            self.fail(f"no permission to look into {shown(str(value))}: run as its owner")
        except OSError:
            pass  # click says what is wrong
        return super().convert(value, param, ctx)


class Verb(click.Command):
    """A command whose first argument, DIRECTORY, is left out with `--connect`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not any(arg == "--connect" or arg.startswith("--connect=") for arg in args):
            return super().parse_args(ctx, args)
        params = self.params
        self.params = [param for param in params if param.name != "directory"]
        try:
            return super().parse_args(ctx, args)
        finally:
            self.params = params
            ctx.params.setdefault("directory", None)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The parameters that may still be given. A shell asks for them when it completes."""
        params = super().get_params(ctx)
        if ctx.params.get("connect") is None:
            return params
        return [param for param in params if param.name != "directory"]

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  as click has it
        try:
            heed()  # before this there is nothing to clean up
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader of a pipe has enough: click ends silently
        except UnicodeEncodeError as error:  # an argument that must be text
            raise click.UsageError(f"{shown(str(error.object))} is not UTF-8") from error
        except LockedError as error:
            raise click.ClickException(self._in_use(ctx, error_line(error))) from error
        except (TimelineError, OSError) as error:
            raise click.ClickException(error_line(error)) from error
        except KeyboardInterrupt as stopped:
            click.echo("stopped", err=True)
            ctx.exit(stopped.status if isinstance(stopped, Stopped) else STOPPED)

    def _in_use(self, ctx: click.Context, problem: str) -> str:
        """The error when another process has the store open, with the call that asks its daemon."""
        directory: Path | None = ctx.params.get("directory")
        can = any(param.name == "connect" for param in self.params)
        what, advice, _ = problem.rpartition(": stop it, or ")
        if not can or not advice or directory is None or directory.name not in problem:
            return problem  # another file is in use, or a daemon cannot do it
        return f"{what}: stop it, or use: timeline {self.name} --connect HOST:PORT …"


def verb(
    name: str,
    *,
    examples: str,
    directory: bool = True,
    daemon: bool = True,
    new: bool = False,
    configured: bool = False,
) -> Callable[[Function], Verb]:
    """Make a verb of a function.

    The function takes `directory: Path | None`, `daemon: Wire | None` and `output: Output`, besides
    its own options and arguments. One of `directory` and `daemon` is given, the other is None.

    - `examples`: lines of a shell, shown by `--help`.
    - `directory=False`, `daemon=False`: the verb does not take it.
    - `new`: the directory need not exist.
    - `configured`: the verb opens the directory with the options of its daemon. The function also
      takes `options: Options`.
    """

    def decorate(function: Function) -> Verb:
        def run(
            directory: Path | None = None,
            connect: str | None = None,
            *,
            as_json: bool,
            config: str | None = None,
            **rest: Any,  # noqa: ANN401  what click was told to parse
        ) -> Any:  # noqa: ANN401  as click has it
            if takes_directory and takes_daemon and directory is None and connect is None:
                raise click.UsageError("name a DIRECTORY, or a daemon with --connect HOST:PORT")
            output = Output(as_json=as_json)
            if takes_directory:
                rest["directory"] = directory
            if configured:
                if config is not None and connect is not None:
                    raise click.UsageError("--config goes with a directory; a daemon has its own")
                rest["options"] = Options() if connect is not None else _as_its_daemon(config)
            if not takes_daemon:
                return function(output=output, **rest)
            if connect is None:
                return function(output=output, daemon=None, **rest)
            with connect_to_daemon(connect) as wire:
                return function(output=output, daemon=wire, **rest)

        takes_directory, takes_daemon = directory, daemon
        run.__doc__ = function.__doc__
        run.__click_params__ = list(getattr(function, "__click_params__", ()))  # type: ignore[attr-defined]
        command: Callable[..., Any] = run
        command = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)
        if daemon:
            connects = click.option(
                "--connect",
                metavar="HOST:PORT",
                required=not directory,
                help="A live daemon, or its Unix socket"
                + (", instead of a directory." if directory else "."),
            )
            command = connects(command)
        if configured:
            configures = click.option(
                "--config",
                metavar="FILE",
                help="The configuration of the directory's daemon: where the index is and what is "
                "indexed. Variables TIMELINED_… count too.",
            )
            command = configures(command)
        if directory:
            where = click.argument(
                "directory",
                required=not daemon,
                type=click.Path(file_okay=False, path_type=Path) if new else ExistingDirectory(),
            )
            command = where(command)
        lines = "\n".join("  " + line for line in examples.strip().splitlines())
        return click.command(name, cls=Verb, epilog="\b\nExamples:\n" + lines)(command)

    return decorate


def _as_its_daemon(file: str | None) -> Options:
    """The engine's options as `timelined --config FILE` would have them here."""
    try:
        found = daemon_config.load([] if file is None else ["--config", file]).engine
    except UsageError as error:
        raise click.UsageError(str(error)) from error
    options: Options = replace(found, create=False, new_epoch=False)
    return options
