"""Pictures made to take a server's memory: refused by their header, or decoded one at a time."""

from __future__ import annotations

import struct
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import psutil
import pytest

from svd_ui.errors import BadPicture
from svd_ui.media import reading
from svd_ui.media.image import load
from svd_ui.media.memory import give_back
from svd_ui.media.reading import LARGE, Reader

LIMITS = {"max_bytes": 50_000_000, "max_pixels": 64_000_000}


def blank(width: int, height: int) -> bytes:
    """A transparent PNG of that size, a thousandth as large as its pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    pack, row = zlib.compressobj(1), b"\0" * (width * 4 + 1)
    data = b"".join(pack.compress(row) for _ in range(height)) + pack.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_picture_bomb_is_refused_by_its_header() -> None:
    """13,300 x 13,300 would be 700 MB. Its data may as well be missing."""
    bomb = blank(13_300, 1)
    head = struct.pack(">IIBBBBB", 13_300, 13_300, 8, 6, 0, 0, 0)
    bomb = bomb[:16] + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + bomb[33:]
    before, begin = psutil.Process().memory_info().rss, time.process_time()
    with pytest.raises(BadPicture, match="13300 x 13300 pixels; at most 64 million"):
        load(bomb, **LIMITS)
    assert time.process_time() - begin < 0.1
    assert psutil.Process().memory_info().rss - before < 20e6


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most, given_back = [0], [0], []
    decode = Reader._decoded

    def watched(self: Reader, raw: bytes, missing: float) -> Any:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.02)
        try:
            return decode(self, raw, missing)
        finally:
            inside[0] -= 1

    monkeypatch.setattr(Reader, "_decoded", watched)
    monkeypatch.setattr(reading, "give_back", lambda: given_back.append(1))
    monkeypatch.setattr(reading, "LARGE", 10_000)
    for size, together in (((200, 100), 1), ((64, 64), 4)):
        most[0] = 0
        data = blank(*size)
        threads = [threading.Thread(target=load, args=(data,), kwargs=LIMITS) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most[0] == 1 if together == 1 else most[0] > 1
    assert len(given_back) == 4
    assert LARGE < 4096 * 4096 * 2


def test_one_that_cannot_be_read_lets_the_next_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reading, "LARGE", 100)
    for _ in range(2):
        with pytest.raises(BadPicture):
            load(blank(300, 300)[:200], **LIMITS)
    assert load(blank(300, 300), **LIMITS).image.size == (300, 300)


def test_memory_goes_back_where_the_system_takes_it() -> None:
    give_back()
    give_back()
