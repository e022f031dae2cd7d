"""The schema: what a document of the index holds.

    every document   key       `<timeline>-<seq>` of an entry, `m<timeline>` of metadata (both
                               in hex), or `@checkpoint`; documents are replaced and deleted by it
    an entry         timeline  id of the timeline
                     seq       sequence number
                     rank      LSN ‖ low 20 bits of seq: the order of hits, unique in a timeline
                     time      of the commit, ms
                     from      the sender, unchanged
                     kind      `post` for an entry of a feed; others have none
                     tag       the tags of a post, unchanged
                     f0, f1 …  the texts of the indexed fields
    metadata         about     id of the timeline
                     meta      all values, as text
                     pair      `field=value`, a value as a whole
    the checkpoint   lsn       how far in the log the index reaches
                     epoch     of the store
                     made      fingerprint of the fields and prefixes that it was made with

Rule: the index stores nothing that can be read from the store: a hit is a timeline and a number.
Unsigned values are checked before they are added, since one that does not fit would kill the
writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from json import JSONEncoder
from typing import Final, NamedTuple

from tantivy import Document, Schema, SchemaBuilder

from timeline.search.text import analysis
from timeline.search.text.folding import fold

VERSION: Final = 2  # part of the fingerprint: a new one has every index built again
CHECKPOINT: Final = "@checkpoint"

_RANK_BITS: Final = 20
_MOST_U64: Final = 2**64 - 1

_quoted: Final = JSONEncoder(ensure_ascii=False).encode


def fingerprint(fields: Sequence[str], prefixes: Sequence[bytes]) -> str:
    """Names what an index is made with. An index is of use only where this is the same."""
    fields_named = ".".join(field.encode().hex() for field in fields)
    prefixes_named = ".".join(prefix.hex() for prefix in sorted(prefixes))
    return f"{VERSION}-{analysis.VERSION}-{fields_named}-{prefixes_named}"


def read_fingerprint(made: str) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
    """The fields and prefixes of a fingerprint. Raises `ValueError` for what is none."""
    _, _, fields, prefixes = made.split("-")
    return (
        tuple(bytes.fromhex(field).decode() for field in fields.split(".")),
        tuple(bytes.fromhex(prefix) for prefix in prefixes.split(".")),
    )


def build_schema(fields: Sequence[str]) -> Schema:
    builder = SchemaBuilder()
    builder.add_text_field("key", tokenizer_name="raw", index_option="basic")
    for name in ("timeline", "seq"):
        builder.add_unsigned_field(name, indexed=True, fast=True)
    for name in ("rank", "time"):
        builder.add_unsigned_field(name, fast=True)
    for name in ("from", "kind", "tag"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    for number, _ in enumerate(fields):
        builder.add_text_field(f"f{number}", tokenizer_name=analysis.NAME)
    builder.add_unsigned_field("about", fast=True)
    builder.add_text_field("meta", tokenizer_name=analysis.NAME)
    builder.add_text_field("pair", tokenizer_name="raw", index_option="basic")
    for name in ("lsn", "epoch"):
        builder.add_unsigned_field(name, stored=True)
    builder.add_text_field("made", tokenizer_name="raw", index_option="basic", stored=True)
    return builder.build()


def rank_of(lsn: int, seq: int) -> int:
    return min((lsn << _RANK_BITS) | (seq & ((1 << _RANK_BITS) - 1)), _MOST_U64)


def entry_key(timeline: int, seq: int) -> str:
    return f"{timeline:x}-{seq:x}"


def metadata_key(timeline: int) -> str:
    return f"m{timeline:x}"


def entry_document(
    timeline: int, seq: int, lsn: int, time: int, sender: str, texts: Sequence[tuple[str, str]]
) -> str:
    """`texts` are pairs of another field of the document and a text of it. As JSON, which the index
    reads itself: to give it a document field by field takes three times as long.
    """
    if len(texts) == 1:
        name, value = texts[0]
        fields = f'"{name}":{_quoted(value)}'
    else:
        values: dict[str, list[str]] = {}
        for name, value in texts:
            values.setdefault(name, []).append(_quoted(value))
        fields = ",".join([f'"{name}":[{",".join(each)}]' for name, each in values.items()])
    return (
        f'{{"timeline":{timeline},"seq":{seq},"rank":{rank_of(lsn, seq)},"time":{time},'
        f'"key":"{timeline:x}-{seq:x}","from":{_quoted(sender)},{fields}}}'
    )


def metadata_document(timeline: int, pairs: Sequence[tuple[str, str]]) -> Document:
    document = Document()
    document.add_unsigned("about", timeline)
    document.add_text("key", metadata_key(timeline))
    for field, value in pairs:
        document.add_text("meta", fold(value))
        document.add_text("pair", pair_of(field, analysis.words(value)))
    return document


def pair_of(field: str, tokens: Sequence[str]) -> str:
    """A whole value for the field `pair`, as the tokens of its words."""
    return f"{field}={' '.join(tokens)}"


class Checkpoint(NamedTuple):
    """The index agrees with the store of this epoch as it was after commit `lsn`. `made` is its
    fingerprint.
    """

    lsn: int
    epoch: int
    made: str


def checkpoint_document(checkpoint: Checkpoint) -> Document:
    document = Document()
    document.add_text("key", CHECKPOINT)
    document.add_unsigned("lsn", checkpoint.lsn)
    document.add_unsigned("epoch", checkpoint.epoch)
    document.add_text("made", checkpoint.made)
    return document


def read_checkpoint(document: Document) -> Checkpoint:
    """Raises `ValueError` for a document that is none."""
    lsn, epoch, made = (document.get_first(name) for name in ("lsn", "epoch", "made"))
    if not isinstance(lsn, int) or not isinstance(epoch, int) or not isinstance(made, str):
        raise ValueError("a checkpoint without a position")  # noqa: TRY004  it is stored content
    return Checkpoint(lsn, epoch, made)
