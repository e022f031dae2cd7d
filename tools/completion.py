"""`timeline completion`: the script that makes a shell complete verbs, options, paths and names.

Rule: the script asks `timeline` each time, so it knows every verb and never has to be updated.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .cli.console import Output
from .cli.verb import verb

# Names of timelines have these characters in them.
_BESIDE = {"bash": 'COMP_WORDBREAKS="${COMP_WORDBREAKS//[:@]/}"\n'}
_SHELLS = ("bash", "zsh", "fish")


@verb(
    "completion",
    directory=False,
    daemon=False,
    examples="""
echo 'eval "$(timeline completion bash)"' >> ~/.bashrc
echo 'eval "$(timeline completion zsh)"' >> ~/.zshrc           after compinit
timeline completion fish > ~/.config/fish/completions/timeline.fish""",
)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, /, *, shell: str, output: Output) -> None:
    """Print the script that makes SHELL complete what you type after `timeline`."""
    found = get_completion_class(shell)
    assert found is not None, "click knows these three"
    script = found(context.find_root().command, {}, "timeline", "_TIMELINE_COMPLETE").source()
    script += _BESIDE.get(shell, "")
    output.line(script, {"shell": shell, "script": script})
