"""`timeline inspect`: what a store, a timeline or a segment is made of.

Rule: the engine gives the facts; this module only decides how to show them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from timeline.formats.keys import MAX
from timeline.options import Options

from ..cli.console import Output, Value, size, when
from ..cli.names import Name, as_bytes, conversation_of
from ..cli.verb import verb
from ..sources.opening import source_of
from ..sources.source import Facts
from ..sources.wire import Wire
from .printing import as_text

_SEGMENTS_SHOWN: Final = 20  # the others are only counted
_LINE_BYTES: Final = 16  # of a dump in hex


@verb(
    "inspect",
    examples="""
timeline inspect data                            the store
timeline inspect data audit                      one timeline; @conv:team, @user:bob
timeline inspect data audit --segment 512        the segment that holds entry 512
timeline inspect data audit --segment 512 --hex  as it is stored
timeline inspect --connect :7420 audit           the same of a daemon""",
    configured=True,
)
@click.argument("name", type=Name(), required=False)
@click.option(
    "--segment",
    type=click.IntRange(0, MAX),
    metavar="SEQ",
    help="Show the segment with this entry.",
)
@click.option("--hex", "as_hex", is_flag=True, help="Show the bytes of the segment too.")
def inspect(
    *,
    directory: Path | None,
    daemon: Wire | None,
    options: Options,
    output: Output,
    name: str | None,
    segment: int | None,
    as_hex: bool,
) -> None:
    """Show what the store in DIRECTORY is made of, or its timeline NAME, or one segment of that.

    The directory may be in use. Nothing in it is changed.
    """
    if name is None and segment is not None:
        raise click.UsageError("--segment needs a timeline: name it")
    if segment is None and as_hex:
        raise click.UsageError("--hex needs a segment: name one with --segment")
    with source_of(directory, daemon, options) as source:
        if name is None:
            _store(output, source.store())
        elif segment is None:
            facts = source.timeline(as_bytes(name))
            if as_text(facts["kind"]) == "conversation":
                about = source.conversation(conversation_of(as_bytes(name)))
                facts |= {each: about[each] for each in ("members", "diffusion", "state")}
            _timeline(output, facts)
        else:
            facts = source.segment(as_bytes(name), segment)
            _segment(output, facts, as_hex=as_hex)
            if not facts["intact"]:
                click.get_current_context().exit(1)


def _store(output: Output, facts: Facts) -> None:
    if output.as_json:
        output.document(facts)
        return
    log = facts["log"]
    output.values(
        {
            "format": facts["format"],
            "epoch": str(facts["epoch"]),
            "timelines": facts["timelines"],
            "conversations": facts["conversations"],
            "users": facts["users"],
            "unsealed": size(facts["unsealed_bytes"]),
            "log": f"LSN {log['first']:,} to {log['last']:,}, sealed up to {log['sealed']:,}, "
            + size(log["size"]),
        }
    )
    if facts["search"]:
        index = facts["search"]
        output.values(
            {
                "documents": index["index_documents"],
                "size": size(index["index_bytes"]),
                "reaches LSN": index["index_lsn"],
                "behind": index["index_lag"],
                **({"failure": index["index_last_failure"]} if index["index_last_failure"] else {}),
            },
            title="\nSearch index",
        )
    output.rows(
        ("family", "keys, about", "files", "memory"),
        [
            (each["name"], each["keys"], size(each["size"]), size(each["memory"]))
            for each in facts["families"]
        ],
        title="\nColumn families",
    )
    if log["consumers"]:
        output.rows(
            ("consumer", "LSN", "behind"),
            [(each["name"], each["lsn"], each["behind"]) for each in log["consumers"]],
            title="\nConsumers of the log",
        )


def _timeline(output: Output, facts: Facts) -> None:
    if output.as_json:
        output.document(facts)
        return
    inbox = as_text(facts["kind"]) in ("inbox", "home")
    values: dict[str, Value] = {
        "name": facts["name"],
        "kind": facts["kind"],
        "id": facts["id"],
        "created": when(facts["created"]),
        "first": facts["first"],
        "head": facts["head"],
        "length": facts["length"],
        "not sealed": facts["tail"],
        "segments": f"{facts['segment_count']:,} of {size(facts['segment_bytes'])}",
        "patches": facts["patches"],
    }
    if inbox:
        values["floor"] = facts["floor"]
    for each in ("members", "diffusion", "state"):
        if each in facts:
            values[each] = facts[each]
    bounds = {"maxage": " ms", "maxlen": " entries", "maxbytes": " bytes"}
    kept = [f"{facts[name]:,}{unit}" for name, unit in bounds.items() if facts[name]]
    values["retention"] = ", ".join(kept) or "none"
    output.values(values)
    if facts["metadata"]:
        output.rows(("field", "value"), list(facts["metadata"].items()), title="\nMetadata")
    newest = facts["segments"][-_SEGMENTS_SHOWN:]
    if newest:
        what = "references" if inbox else "entries"
        left = facts["segment_count"] - len(newest)
        output.rows(
            ("up to LSN" if inbox else "last", what, "size"),
            [(each["last"], each["entries"], size(each["size"])) for each in newest],
            title="\nSegments" + (f", the newest; {left:,} before them" if left else ""),
        )


def _segment(output: Output, facts: Facts, *, as_hex: bool) -> None:
    content = facts.pop("value")
    if output.as_json:
        shown = {"value": content.hex()} if as_hex else {}
        output.document({**facts, "key": facts["key"].hex(), **shown})
        return
    output.values(
        {
            "key": facts["key"].hex(" ", 8),
            "version": facts["version"],
            "flags": facts["flags"],
            "entries": facts["entries"],
            "size": size(facts["size"]),
            "checksum": "fits" if facts["intact"] else f"wrong: {as_text(facts['problem'])}",
        }
    )
    if facts["rows"]:
        columns = tuple(facts["rows"][0])
        rows = [
            [when(each[name]) if name == "time" else each[name] for name in columns]
            for each in facts["rows"]
        ]
        output.rows(columns, rows, title="\nRows")
    if as_hex:
        output.line("")
        for at in range(0, len(content), _LINE_BYTES):
            part = content[at : at + _LINE_BYTES]
            text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
            output.line(f"{at:08x}  {part.hex(' '):<{3 * _LINE_BYTES}} {text}")
