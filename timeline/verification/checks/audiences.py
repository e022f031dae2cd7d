"""Audiences: who gets what is sent to a conversation, or published in a feed.

Checked: the audience of what is write-diffused is its members, or its followers; that of what is
read-diffused is empty. Each row names an audience and an in-box that are there.

Example: ann follows `bob`, which is write-diffused, and his posts are not delivered to her.

A repair believes whoever says who the members and followers are.
"""

from __future__ import annotations

from collections.abc import Iterator, Set as AbstractSet
from typing import NamedTuple

from timeline.errors import CorruptError, shown
from timeline.formats import keys
from timeline.formats.rows import INBOX, decode_spans, encode_spans
from timeline.formats.stretches import OPEN
from timeline.storage.rocks import STATE
from timeline.verification.snapshot.findings import Finding, put, remove
from timeline.verification.snapshot.snapshot import Snapshot


class Wording(NamedTuple):
    """What is delivered, who gets it, and what others are."""

    what: str
    reader: str
    stranger: str


def check_audience(
    snapshot: Snapshot,
    audience: int,
    name: bytes,
    readers: AbstractSet[int],
    wording: Wording,
    *,
    pulled: bool,
) -> Iterator[Finding]:
    """`readers` are the in-boxes of those who read it, `pulled` says that they pull it now."""
    reached = set()
    for key, value in snapshot.scan(keys.AUDIENCE + keys.number(audience)):
        try:
            inbox = keys.split_pair(key[1:])[1]
            spans = decode_spans(value)
            ends = [end for span in spans for end in span]
            if not spans or ends != sorted(ends) or spans[-1][0] > snapshot.applied:
                raise CorruptError("a row of membership is out of order")
        except CorruptError as error:
            yield Finding(STATE, str(error), key, name, fix=remove(STATE, key))
            continue
        if spans[-1][1] == OPEN:
            reached.add(inbox)
            if pulled or inbox not in readers:
                why = "it is read-diffused" if pulled else wording.stranger
                yield Finding(
                    STATE,
                    f"user {_user(snapshot, inbox)} is delivered its {wording.what}, although "
                    f"{why}",
                    key,
                    name,
                    fix=remove(STATE, key),
                )
    for inbox in sorted(readers - reached) if not pulled else ():
        key = keys.AUDIENCE + keys.pair(audience, inbox)
        yield Finding(
            STATE,
            f"{wording.reader} {_user(snapshot, inbox)} is not delivered its {wording.what}",
            key,
            name,
            fix=put(STATE, key, encode_spans([(snapshot.applied, OPEN)])),
        )


def _user(snapshot: Snapshot, inbox: int) -> str:
    return shown(snapshot.name(inbox))


def check_audiences(snapshot: Snapshot) -> Iterator[Finding]:
    """Each membership of an audience names an audience and an in-box that are there."""
    for key, _ in snapshot.scan(keys.AUDIENCE):
        if len(key) != 17:
            yield Finding(STATE, "this key is no membership", key, fix=remove(STATE, key))
            continue
        audience, inbox = keys.split_pair(key[1:])
        row = snapshot.row(inbox)
        if not 0 < audience < snapshot.next_id or row is None or row.kind != INBOX:
            yield Finding(
                STATE,
                f"in-box {inbox} is in audience {audience}, and one of the two is not there",
                key,
                fix=remove(STATE, key),
            )
