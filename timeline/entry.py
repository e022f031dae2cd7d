"""Entries as an embedder sees them.

Rule: an `Entry` is made for every entry of a range, so it costs little until its fields are asked
for. They are decoded from the stored form then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from timeline.errors import shown
from timeline.formats.entries import decode_id, decode_items
from timeline.formats.given import Value, as_bytes


class Fields(Sequence[tuple[bytes, bytes]]):
    """The fields of an entry: pairs of bytes in the order sent, duplicates kept.

    `fields["name"]` (or `b"name"`) is the last value of that name, as in a mapping.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Sequence[bytes]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items) // 2

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return zip(self._items[::2], self._items[1::2], strict=True)

    def __getitem__(self, key: object) -> bytes:  # type: ignore[override]
        if isinstance(key, int):
            raise TypeError("fields are looked up by name; list(fields) gives them by position")
        name = as_bytes(key)
        for index in range(len(self._items) - 2, -1, -2):
            if self._items[index] == name:
                return self._items[index + 1]
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, (bytes, str)) and as_bytes(key) in self._items[::2]

    def get(self, key: Value, default: bytes | None = None) -> bytes | None:
        """The last value of field `key`, or `default`."""
        try:
            return self[key]
        except KeyError:
            return default

    def text(self, key: Value, default: str | None = None) -> str:
        """The last value of field `key` as text; where there is none `default`, if one is given.
        Raises `KeyError`, or `UnicodeDecodeError`.
        """
        value = self.get(key)
        if value is not None:
            return value.decode()
        if default is not None:
            return default
        there = ", ".join(map(shown, self.keys())) or "none"
        raise KeyError(
            f"there is no field {shown(as_bytes(key))}; there are: {there}. "
            f"text({shown(as_bytes(key))}, '') gives an empty text then"
        )

    def keys(self) -> Sequence[bytes]:
        return self._items[::2]

    def values(self) -> Sequence[bytes]:
        return self._items[1::2]

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Fields):
            return list(self._items) == list(other._items)
        if isinstance(other, Mapping):
            return dict(self) == {as_bytes(key): as_bytes(value) for key, value in other.items()}
        return NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._items))

    def __repr__(self) -> str:
        return f"Fields({list(self)!r})"


class Entry:
    """One entry: its number, the time of its commit (ms since the epoch), its fields.

    Of a reference in an in-box `seq` is the LSN, and `time` is 0: an in-box does not know the time.
    """

    __slots__ = ("_payload", "seq", "time")

    def __init__(self, seq: int, time: int, payload: bytes) -> None:
        self.seq = seq
        self.time = time
        self._payload = payload

    @property
    def id(self) -> str:
        """The id by which streams name it, `<seq>-0`; of a reference `<lsn>-<n>`."""
        return decode_id(self._payload).decode()

    @property
    def fields(self) -> Fields:
        return Fields(decode_items(self._payload))

    def text(self, name: Value, default: str | None = None) -> str:
        """The value of field `name` as text; where there is none `default`, if one is given. Raises
        `KeyError`, or `UnicodeDecodeError`.
        """
        return self.fields.text(name, default)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entry):
            return NotImplemented
        return (self.seq, self.time, self._payload) == (other.seq, other.time, other._payload)

    def __hash__(self) -> int:
        return hash((self.seq, self.time, self._payload))

    def __repr__(self) -> str:
        return f"Entry(seq={self.seq}, time={self.time}, fields={list(self.fields)!r})"
