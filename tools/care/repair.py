"""`timeline repair`: makes a sound store from a damaged one, and says what is lost.

Rule: the damaged store is replaced only with `--in-place`, and even then its files are kept. The
work is done in `timeline/verification`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from timeline.verification import Repair, repair as make, repair_in_place

from ..cli.console import Output
from ..cli.verb import verb

_MENDED_SHOWN: Final = 20  # lines; all with --json


@verb(
    "repair",
    examples="""
timeline repair data --to repaired    leaves data as it is
timeline repair data --in-place       keeps the damaged files in data/*.damaged
timeline repair data --to repaired --json""",
    daemon=False,
)
@click.option("--to", type=click.Path(path_type=Path), help="Make the repaired store here.")
@click.option("--in-place", is_flag=True, help="Replace this store; its damaged files are kept.")
def repair(*, directory: Path, output: Output, to: Path | None, in_place: bool) -> None:
    """Make a sound store from the damaged one in DIRECTORY, which no process may have open.

    It keeps the log up to its first damage and every entry that can be read. It rebuilds what can
    be derived, and lists what is lost. The search index is rebuilt when the store is opened.
    """
    if (to is None) != in_place:
        raise click.UsageError("say where: --to NEWDIR, or --in-place")
    with output.progress() as progress:
        task = progress.add_task("repairing", total=None)

        def step(name: str) -> None:
            progress.update(task, description=name)

        done = (
            repair_in_place(directory, step=step) if to is None else make(directory, to, step=step)
        )
    _show(output, done, to or directory)
    if done.left:
        raise SystemExit(1)


def _show(output: Output, done: Repair, where: Path) -> None:
    if output.as_json:
        output.document(
            {
                "store": str(where),
                "kept": None if done.kept is None else str(done.kept),
                "entries": done.entries,
                "lsn": done.applied,
                "found": [finding.document() for finding in done.found],
                "lost": [finding.document() for finding in done.lost],
                "mended": [finding.document() for finding in done.remade],
                "left": [finding.document() for finding in done.left],
            }
        )
        return
    for finding in done.lost:
        output.line(f"lost: {finding.place}: {finding.text}")
    for finding in done.remade[:_MENDED_SHOWN]:
        output.line(f"mended: {finding.place}: {finding.text}")
    if len(done.remade) > _MENDED_SHOWN:
        output.line(f"mended: {len(done.remade) - _MENDED_SHOWN:,} more, all of them with --json")
    for finding in done.left:
        output.line(f"still wrong: {finding.place}: {finding.text}")
    output.line(
        f"{len(done.lost):,} losses, {len(done.remade):,} mended; {where} holds "
        f"{done.entries:,} entries up to commit {done.applied:,}"
    )
    if done.kept is not None:
        log = done.kept.with_name(done.kept.name.replace("rocks", "log"))
        output.note(f"the damaged files are in {done.kept} and {log}: remove them when all is well")
