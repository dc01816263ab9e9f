"""Clips that are damaged, lie about their length or size, or carry settings that nobody wrote."""

from __future__ import annotations

import io
import json
import random
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from svd_ui import settings_tag
from svd_ui.media.video import Mp4Writer
from svd_ui.request import GenerationRequest
from tests.media.files import TURNS, encoded, levels, scene, turned

from .mutation import mutated
from .pictures import whole as pictures

KINDS = (
    ("mp4", "libx264", "yuv420p"),
    ("mov", "libx264", "yuv444p"),
    ("matroska", "libx264", "yuv420p"),
    ("webm", "libvpx-vp9", "yuva420p"),
    ("avi", "mjpeg", "yuvj420p"),
)
ENDINGS = ("mp4", "mov", "mkv", "webm", "avi", "gif", "webp")


@cache
def whole() -> tuple[bytes, ...]:
    """Sound ones of every container, and one as this app writes them."""
    frames = np.stack([np.roll(levels(scene()), shift, 1) for shift in range(0, 48, 8)])
    made = [_video(frames, *kind) for kind in KINDS]
    ours = tagged(settings_tag.tag(GenerationRequest(prompt="a fox", seed=7)))
    moving = tuple(one for one in pictures() if one[:4] in (b"GIF8", b"RIFF"))
    return (*made, ours, turned(ours, *TURNS["90"]), *moving[-2:])


def _video(frames: np.ndarray[Any, Any], kind: str, codec: str, pixels: str) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        stream: Any = container.add_stream(codec, rate=8)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pixels
        for values in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(values, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def tagged(comment: str) -> bytes:
    """A small clip that carries ``comment`` where this app keeps settings."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with Mp4Writer(path, 96, 64, 8, comment=comment) as writer:
            writer.add(np.stack([levels(scene())] * 4))
        return path.read_bytes()


def clip(chance: random.Random) -> bytes:
    """A damaged or forged one."""
    if chance.random() < 0.25:
        return chance.choice(FORGED)(chance)
    return mutated(chance.choice(whole()), chance, whole())


def _with_any_settings(chance: random.Random) -> bytes:
    """Settings of another hand: out of range, of wrong types, deep, long, with another program's words."""
    return tagged(settings(chance))


def settings(chance: random.Random) -> str:
    """The text of such settings, now and then no JSON."""
    fields = list(GenerationRequest.model_fields)
    request = {chance.choice(fields): _value(chance) for _ in range(chance.randint(0, 8))}
    whole = {
        "svd_ui": chance.choice((1, 0, -5, 10**30, "x", None, [])),
        "request": request,
        "effective": _value(chance),
    }
    text = json.dumps(whole if chance.random() < 0.8 else _value(chance))
    return chance.choice(
        (
            text,
            text,
            text,
            text[: len(text) // 2],
            "[" * 50_000,
            text.replace("}", "}" * 3),
            '{"prompt": "x", "workflow": {}}',
        )
    )


def _value(chance: random.Random) -> Any:
    plain = (
        None,
        True,
        -1,
        10**400,
        1e308,
        float("nan"),
        "",
        "\ud800",
        "<script>",
        "../../x",
        "x" * 5000,
        [],
        {},
        [[[[]]]],
        {"kind": "extend"},
        {"kind": 7},
    )
    return chance.choice(
        (*plain, {"kind": "drag", "marks": [chance.random()] * 500}, [{"kind": "boomerang", "x": {}}] * 50)
    )


def _with_another_table(chance: random.Random) -> bytes:
    """Durations, time scales and numbers of samples that cannot be."""
    data = bytearray(whole()[0])
    for name in chance.sample(
        (b"mvhd", b"tkhd", b"mdhd", b"stts", b"stsz", b"stco", b"stss", b"stsc", b"elst", b"avcC", b"ctts"), 3
    ):
        at = data.find(name)
        if at > 0:
            place = at + 4 + chance.randrange(0, 40)
            data[place : place + 4] = chance.choice(
                (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\x10\0\0")
            )
    return bytes(data)


def _gif_without_end(chance: random.Random) -> bytes:
    one = encoded(_noise(), "GIF")
    return one[:-1] + one[13 + 3 * 256 :] * chance.choice((2, 50, 300))


def _noise() -> Any:
    from PIL import Image

    return Image.effect_noise((64, 48), 90)


def _playlist(chance: random.Random) -> bytes:
    texts = (
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"<?xml version='1.0'?><MPD/>",
    )
    return chance.choice((b"", b"\0\0\0\x18ftypisom" + bytes(12))) + chance.choice(texts)


FORGED: tuple[Callable[[random.Random], bytes], ...] = (
    _with_any_settings,
    _with_another_table,
    _with_another_table,
    _gif_without_end,
    _playlist,
)
