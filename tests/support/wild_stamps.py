"""Files whose frames carry wild time stamps: their bytes are changed where the container keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

TS_PACKET_BYTES, TS_SYNC, TS_STARTS = 188, 0x47, 0x40
_TICKS_PER_SECOND, _TICKS = 90_000, 1 << 33
_SEGMENT, _CLUSTER, _BLOCK_GROUP = 0x18538067, 0x1F43B675, 0xA0
_BLOCKS = (0xA3, 0xA1)


def wild_flv(path: Path, changes_ms: Mapping[int, int]) -> Path:
    """Move the stamps of some frames of an FLV file, by their number in the file."""
    data, at, number = bytearray(path.read_bytes()), 13, -1
    while at + 11 <= len(data):
        # a tag: type, three bytes of length, three of time and one more above them
        number += data[at] == 9
        if data[at] == 9 and number in changes_ms:
            stamp = (int.from_bytes(data[at + 4 : at + 7], "big") | data[at + 7] << 24) + changes_ms[number]
            data[at + 4 : at + 7], data[at + 7] = (stamp & 0xFFFFFF).to_bytes(3, "big"), stamp >> 24
        at += 15 + int.from_bytes(data[at + 1 : at + 4], "big")
    path.write_bytes(data)
    return path


def wild_ts(path: Path, changes_seconds: Mapping[int, float], *, of_showing_alone: bool = False) -> Path:
    """Move the stamps of some frames of a transport stream, by their number in the file."""
    data, number = bytearray(path.read_bytes()), -1
    for at in range(0, len(data), TS_PACKET_BYTES):
        begin = at + 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0)
        is_video = data[begin : begin + 3] == b"\0\0\1" and 0xE0 <= data[begin + 3] <= 0xEF
        if data[at] != TS_SYNC or not data[at + 1] & TS_STARTS or not is_video:
            continue
        number += 1
        if number not in changes_seconds:
            continue
        has_both = data[begin + 7] >> 6 == 3 and not of_showing_alone
        for place in (begin + 9, begin + 14)[: 1 + has_both]:
            _move_ticks(data, place, round(changes_seconds[number] * _TICKS_PER_SECOND))
    path.write_bytes(data)
    return path


def _move_ticks(data: bytearray, at: int, ticks: int) -> None:
    """Move one stamp of 33 bits, which stands in five bytes with marks between."""
    a, b, c, d, e = data[at : at + 5]
    stamp = ((a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1) + ticks & _TICKS - 1
    parts = (a & 0xF1 | stamp >> 30 << 1, stamp >> 22 & 255, stamp >> 15 << 1 & 255 | 1, stamp >> 7 & 255)
    data[at : at + 5] = bytes([*parts, (stamp & 127) << 1 | 1])


def wild_mkv(path: Path, changes_ms: Mapping[int, int]) -> Path:
    """Move the stamps of some frames of a Matroska file of one stream, by their number in the file."""
    data = bytearray(path.read_bytes())
    for number, (at, _) in enumerate(_blocks(data, 0, len(data))):
        if number in changes_ms:
            # behind the track's number, from the cluster's time
            stamp = int.from_bytes(data[at + 1 : at + 3], "big", signed=True) + changes_ms[number]
            data[at + 1 : at + 3] = stamp.to_bytes(2, "big", signed=True)
    path.write_bytes(data)
    return path


def spoil_mkv(path: Path, number: int) -> Path:
    """Invert the picture of one frame of a Matroska file of one stream, by its number in the file."""
    data = bytearray(path.read_bytes())
    at, end = _blocks(data, 0, len(data))[number]
    # behind the track's number, the time and the flags
    data[at + 4 : end] = bytes(255 - byte for byte in data[at + 4 : end])
    path.write_bytes(data)
    return path


def _blocks(data: bytearray, at: int, end: int) -> list[tuple[int, int]]:
    """Where the contents of a part's blocks begin and end."""
    found: list[tuple[int, int]] = []
    while at < end:
        kind, at = _number(data, at, keep_mark=True)
        size, at = _number(data, at)
        if kind in (_SEGMENT, _CLUSTER, _BLOCK_GROUP):
            found += _blocks(data, at, min(end, at + size))
        elif kind in _BLOCKS:
            found.append((at, at + size))
        at += size
    return found


def _number(data: bytearray, at: int, *, keep_mark: bool = False) -> tuple[int, int]:
    """A number whose first bit that is set tells its length, and where the next one begins."""
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big")
    return value if keep_mark else value & (1 << 7 * length) - 1, at + length
