"""`timeline verify`: says whether a store is sound, and where it is not.

Rule: it only reads, also from a store that is in use. The checks are in `timeline/verification`;
this module prints. The status is 1 when something is wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from timeline.options import Options
from timeline.verification import Report, verify as check
from timeline.verification.snapshot.findings import INDEX

from ..cli.console import Output
from ..cli.verb import verb


@verb(
    "verify",
    examples="""
timeline verify data                  every row of the store, some of the index
timeline verify data --index whole    and all of the index
timeline verify data --config /etc/timelined.toml    whose index is elsewhere
timeline verify /backups/monday       a backup, as the store that it would become
timeline verify data --json           for scripts: {"sound": true, …}""",
    daemon=False,
    configured=True,
)
@click.option(
    "--index",
    type=click.Choice(["sample", "whole", "none"]),
    default="sample",
    show_default=True,
    help="How much of the search index to compare with the store.",
)
def verify(
    *,
    directory: Path,
    options: Options,
    output: Output,
    index: Literal["sample", "whole", "none"],
) -> None:
    """Check every checksum and every relation in DIRECTORY, without changing a byte of it.

    It is a store, which may be in use, or a backup. The status is 1 when something is wrong. Then
    `timeline repair` makes a sound store from what is whole.
    """
    with output.progress() as progress:
        task = progress.add_task("verifying", total=None)

        def show(name: str, rows: int, done: int, total: int) -> None:
            described = f"{name}, {rows:,} rows" if rows else name
            progress.update(task, description=described, completed=done, total=total)

        report = check(directory, options=options, index=index, progress=show)
    show_report(output, report)
    if not report.sound:
        raise SystemExit(1)


def show_report(output: Output, report: Report) -> None:
    if output.as_json:
        output.document(
            {
                "sound": report.sound,
                "lsn": report.applied,
                "entries": report.entries,
                "references": report.references,
                "documents": report.documents,
                "findings": [finding.document() for finding in report.findings],
            }
        )
        return
    for finding in report.findings:
        output.line(f"{finding.place}: {finding.text}")
    looked = (
        f"{report.entries:,} entries, {report.references:,} references, "
        f"{report.documents:,} documents of the index; {report.applied:,} commits"
    )
    count = len(report.findings)
    verdict = "sound" if not count else f"{count:,} finding" + ("s" if count > 1 else "")
    output.line(f"{verdict}: {looked}")
    if count and all(finding.family == INDEX for finding in report.findings):
        output.note("the store itself is whole: `timeline reindex` rebuilds its index")
    elif count and report.backup:
        output.note("use another backup: `timeline restore` refuses a damaged one")
    elif count:
        output.note("restore a backup, or try what `timeline repair` can keep")
