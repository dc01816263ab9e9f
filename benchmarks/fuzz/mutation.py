"""Bytes of a file changed as accidents and enemies change them."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

Mutation = Callable[[bytearray, random.Random], bytearray]
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000, 65_500)
HEAD = 256
"""Bytes in which sizes and kinds stand."""


def mutated(whole: bytes, chance: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """One to four changes; with ``others`` also a part of another file."""
    data = bytearray(whole)
    for _ in range(chance.randint(1, 4)):
        if not data:
            break
        if others and chance.random() < 0.08:
            data = _spliced(data, chance.choice(list(others)), chance)
        else:
            data = chance.choice(MUTATIONS)(data, chance)
    return bytes(data)


def _flipped(data: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.choice((1, 1, 2, 8, 40))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def _overwritten(data: bytearray, chance: random.Random) -> bytearray:
    at = chance.randrange(len(data))
    length = min(chance.choice((1, 4, 16, 300)), len(data) - at)
    data[at : at + length] = chance.choice((bytes(length), b"\xff" * length, chance.randbytes(length)))
    return data


def _cut(data: bytearray, chance: random.Random) -> bytearray:
    return data[: chance.randint(0, len(data))]


def _missing(data: bytearray, chance: random.Random) -> bytearray:
    at = chance.randrange(len(data))
    del data[at : at + chance.choice((1, 2, 50, 2000))]
    return data


def _repeated(data: bytearray, chance: random.Random) -> bytearray:
    at = chance.randrange(len(data))
    part = data[at : at + chance.choice((4, 60, 3000))]
    return data[:at] + part * chance.choice((2, 3, 50)) + data[at:]


def _extreme(data: bytearray, chance: random.Random) -> bytearray:
    """A number in the head becomes one that no reader expects."""
    size = chance.choice((1, 2, 4))
    at = chance.randrange(min(HEAD, len(data)))
    value = chance.choice(EXTREMES) & ((1 << 8 * size) - 1)
    data[at : at + size] = value.to_bytes(size, chance.choice(("big", "little")))
    return data


def _appended(data: bytearray, chance: random.Random) -> bytearray:
    return data + chance.randbytes(chance.choice((1, 100, 20_000)))


def _spliced(data: bytearray, other: bytes, chance: random.Random) -> bytearray:
    at, begin = chance.randrange(len(data)), chance.randrange(max(1, len(other)))
    return data[:at] + other[begin:] + data[at:] if chance.random() < 0.5 else data[:at] + other[begin:]


def _atom(data: bytearray, chance: random.Random) -> bytearray:
    """The length before a four-letter name, of which mp4, webp, png and avi are made."""
    places = [at for at in range(4, min(len(data) - 4, 20_000)) if data[at : at + 4].isalpha()]
    if not places:
        return data
    at = chance.choice(places)
    data[at - 4 : at] = struct.pack(chance.choice((">I", "<I")), chance.choice(EXTREMES))
    return data


MUTATIONS: tuple[Mutation, ...] = (
    _flipped, _flipped, _overwritten, _cut, _missing, _repeated, _extreme, _extreme, _appended, _atom, _atom,
)  # fmt: skip
