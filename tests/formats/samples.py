"""The two entries of the worked examples in FORMAT.md, and the bytes that it says they become."""

from __future__ import annotations

import re
from array import array
from pathlib import Path

from hypothesis import strategies as st

import timeline
from timeline.formats.entries import encode_entry
from timeline.formats.records import Appends
from timeline.formats.segments import StoredEntry

FORMAT = Path(timeline.__file__).parent / "formats" / "FORMAT.md"

HI = encode_entry(1, [b"text", b"hi"])
YO = encode_entry(2, [b"text", b"yo"])
ENTRIES: list[StoredEntry] = [(1, 7, 1_700_000_000_000, HI), (2, 8, 1_700_000_000_500, YO)]
APPENDS = Appends(array("Q", [3, 3]), array("Q", [1, 2]), array("I", [len(HI), len(YO)]), None)

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
i64 = st.integers(-(2**63), 2**63 - 1)


def examples() -> list[tuple[bytes, bytes]]:
    """(beginning, end) of each worked example: hex words of its lines around the ellipsis."""
    found = []
    for section in FORMAT.read_text().split("### Worked example")[1:]:
        block = section.split("##", 1)[0]
        words: list[str] = []
        for line in block.splitlines():
            if line.startswith("    "):
                digits = re.match(r"\s+(?:key|value)?\s*((?:[0-9a-f…]+ )*[0-9a-f…]+)", line)
                if digits:
                    words += digits[1].split()
        joined = "".join(words)
        before, after = joined.split("…")
        found.append((bytes.fromhex(before), bytes.fromhex(after)))
    return found
