"""Unpack the golden stores, and read what must be in them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def unpack(name: str, into: Path) -> Path:
    """The golden store of that name, in a directory below `into`."""
    with tarfile.open(HERE / f"{name}.tar.xz") as archive:
        if hasattr(tarfile, "data_filter"):  # not in the first releases of 3.11
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(into)  # our own archive
    return into / name


def listed_in(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text("utf-8"))
    return found
