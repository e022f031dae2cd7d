"""The promise: files of the log are as FORMAT.md says, and no damage to one passes."""

from __future__ import annotations

from typing import Final

from hypothesis import given, strategies as st

from tests.formats.samples import examples, u32, u64
from timeline.formats.logfiles import (
    ALIGNMENT,
    FRAME_BYTES,
    HEADER_BYTES,
    UNSYNCED,
    FileHeader,
    Frame,
    decode_file_header,
    decode_frame,
    encode_file_header,
    encode_frame,
    framed_size,
    is_body,
    padding,
    salted,
)

SALT: Final = bytes(range(1, 9))


def test_a_file_is_byte_for_byte_as_described() -> None:
    header = encode_file_header(FileHeader(0x1B2D3F41, 7, 1_700_000_000_000, SALT))
    frame = encode_frame(salted(SALT), 7, 8, 0, b"hello") + b"hello" + bytes(padding(5))
    begin, end = examples()[2]
    assert header.startswith(begin)
    assert header == header[: HEADER_BYTES // 2] * 2
    assert frame == end
    assert len(frame) == framed_size(5)


@given(u32, u64, u64, st.binary(min_size=8, max_size=8), st.integers(0, HEADER_BYTES - 1))
def test_a_header_comes_back_from_either_copy(
    epoch: int, first: int, time: int, salt: bytes, damaged: int
) -> None:
    header = FileHeader(epoch, first, time, salt)
    value = bytearray(encode_file_header(header))
    assert decode_file_header(bytes(value)) == header
    value[damaged] ^= 1
    assert decode_file_header(bytes(value)) == header
    twin = (damaged + HEADER_BYTES // 2) % HEADER_BYTES
    value[twin] ^= 2
    if damaged % (HEADER_BYTES // 2) < 44:  # else it is not used
        assert decode_file_header(bytes(value)) is None


@given(u64, u64, st.binary(max_size=40), st.sampled_from([0, UNSYNCED]), st.data())
def test_a_frame_comes_back_and_no_damage_to_it_passes(
    first: int, last: int, body: bytes, flags: int, data: st.DataObject
) -> None:
    seed = salted(SALT)
    value = encode_frame(seed, first, last, flags, body)
    assert len(value) == FRAME_BYTES
    frame = decode_frame(seed, value)
    assert frame is not None
    assert frame[:4] == (first, last, len(body), flags)
    assert is_body(seed, frame, body)
    assert framed_size(len(body)) % ALIGNMENT == 0
    place = data.draw(st.integers(0, FRAME_BYTES - 1))
    damaged = bytearray(value)
    damaged[place] ^= data.draw(st.integers(1, 255))
    assert decode_frame(seed, bytes(damaged)) is None
    assert decode_frame(seed, value[:-1]) is None
    if body:
        at = data.draw(st.integers(0, len(body) - 1))
        assert not is_body(seed, frame, body[:at] + bytes((body[at] ^ 1,)) + body[at + 1 :])
        assert not is_body(seed, frame, body[:-1])


@given(u64, st.binary(max_size=40), st.binary(min_size=8, max_size=8))
def test_a_frame_of_another_file_is_none(first: int, body: bytes, salt: bytes) -> None:
    value = encode_frame(salted(SALT), first, first, 0, body)
    if salted(salt) != salted(SALT):
        assert decode_frame(salted(salt), value) is None
    assert isinstance(decode_frame(salted(SALT), value), Frame)
