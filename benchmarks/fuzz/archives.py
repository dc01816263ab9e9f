"""Zip files as queues and settings come in, and files that lie in folders: weights, LoRAs, presets. All of them hostile."""

from __future__ import annotations

import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from typing import Any

from svd_ui.request import SCHEMA_VERSION

from .clips import settings
from .mutation import mutated
from .pictures import picture, plain

DIGEST = "a" * 64
NAMES = (
    "queue.json", "settings.json", f"pictures/{DIGEST}.png", f"pictures/{'b' * 64}.png", "../../evil.sh", "/etc/cron.d/x", "..\\..\\x.exe", "C:\\x",
    "pictures/", "pictures/../queue.json", "a" * 300, "queue.json/", "\u202egnp.exe", "con", "nul\0name", "", "./queue.json",
)  # fmt: skip
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def _queue(chance: random.Random) -> str:
    """A list of jobs, sound or not."""
    request: Any = (
        {"prompt": "a fox"}
        if chance.random() < 0.4
        else {"image": f"sha256:{DIGEST}", "seed": chance.choice((1, -1, 10**30, "x"))}
    )
    if chance.random() < 0.3:
        request = chance.choice(
            (None, [], 7, {"image": "sha256:../../x"}, json.loads(json.dumps({"post": [{"kind": "x"}] * 500})))
        )
    job = {
        "kind": chance.choice(("clip", "still", "download", 7, None)),
        "request": request,
        "name": chance.choice(("", "x" * 5000, 7, "<b>", "../x")),
    }
    jobs: Any = chance.choice(([job], [job] * 30, [job] * 1500, [], {}, None, 7, [[]], [None], "jobs"))
    text = json.dumps({"svd_ui": chance.choice((SCHEMA_VERSION, 99, -1, "x", None)), "jobs": jobs})
    return chance.choice((text, text, text, text[:-3], "[" * 100_000, "null", "7", '{"jobs":' * 3000))


@cache
def _zeros(megabytes: int) -> bytes:
    return bytes(megabytes * 1_000_000)


def archive(chance: random.Random) -> bytes:
    """A zip: names that lead elsewhere, twice the same, links, bombs, locked, cut off, with wrong sums and lengths."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as file:
        warnings.simplefilter("ignore")  # two of one name are meant
        for name in chance.sample(
            ("queue.json", f"pictures/{DIGEST}.png", "settings.json"), chance.randint(0, 3)
        ) + chance.choices(NAMES, k=chance.randint(0, 2)):
            info = zipfile.ZipInfo(name)
            if chance.random() < 0.1:
                info.external_attr = 0o120777 << 16  # a link
            content = _content(name, chance)
            packed = chance.choice(METHODS) if len(content) < 1_000_000 else zipfile.ZIP_DEFLATED
            file.writestr(info, content, packed)
    data = buffer.getvalue()
    return data if chance.random() < 0.4 else chance.choice((_lying, _lying, mutated))(data, chance)


def _content(name: str, chance: random.Random) -> bytes:
    if chance.random() < 0.1:
        return _zeros(chance.choice((20, 60)))
    if name == "queue.json":
        return _queue(chance).encode("utf-8", "replace")
    if name == "settings.json":
        return settings(chance).encode("utf-8", "replace")
    return chance.choice((plain, lambda: picture(chance), lambda: b"no picture"))()


def _lying(data: bytes, chance: random.Random) -> bytes:
    """Sums, lengths, flags and methods of the entries changed, in the file or in its table."""
    changed = bytearray(data)
    mark = chance.choice((b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"))
    at = data.find(mark)
    if at >= 0:
        place = min(len(changed) - 4, at + chance.randrange(4, 46))
        changed[place : place + 4] = struct.pack("<I", chance.choice((0, 1, 0xFFFF, 99, 2**31, 2**32 - 1)))
    return bytes(changed)


def header(chance: random.Random) -> bytes:
    """A safetensors file whose header is anything: too long, no JSON, tensors that overlap or lie outside."""
    unet = "down_blocks.0.attentions.0.temporal_transformer_blocks.0.attn1.to_q"
    names = (
        f"{unet}.lora_A.weight",
        f"{unet}.lora_B.weight",
        "lora_unet_x.lora_down.weight",
        "lora_unet_x.alpha",
        "__metadata__",
        "time_stack",
        "\ud800",
        "",
    )
    shapes = ([], [4, 8], [0], [-1, 8], [2**40, 2**40], "x", None, [1.5], [[8]], [4] * 200)
    places = ([0, 128], [128, 0], [0, 2**63], [-1, 5], [0], None, "0", [1.5, 2.5])
    kinds = ("F32", "F16", "I64", "F8_E4M3", "BOGUS", 7, None)
    tensors: dict[str, Any] = {
        name: {"dtype": chance.choice(kinds), "shape": chance.choice(shapes), "data_offsets": chance.choice(places)}
        for name in chance.sample(names, chance.randint(0, 5))
    }
    if chance.random() < 0.5:
        tensors["__metadata__"] = chance.choice(
            ({"lora_adapter_metadata": "[" * 3000}, {"title": "<b>" * 999}, 7, {"a": {}}, {"ss_network_alpha": "NaN"})
        )
    text = chance.choice(
        (
            json.dumps(tensors).encode(),
            json.dumps(tensors).encode(),
            b"[" * 50_000,
            b"{}",
            b"null",
            chance.randbytes(60),
            b'{"a":' * 9000,
        )
    )
    length = chance.choice((len(text), len(text), len(text), 0, len(text) + 1, 2**40, 2**64 - 1))
    data = struct.pack("<Q", length) + text + bytes(chance.choice((0, 128, 256)))
    other = chance.choice(
        (
            b"",
            b"<!DOCTYPE html><title>Sign in</title>",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n",
            b"\x80\x02}",
        )
    )
    return data if chance.random() < 0.9 else other


def preset(chance: random.Random) -> bytes:
    """A preset, or a file of settings, by somebody who never saw one."""
    whole = {"version": chance.choice((1, 99, "x", None)), "order": chance.choice((1, 10**400, "x")), "title": chance.choice(("T", "", 7, "x" * 999)),
             "description": chance.choice(("d", None, [])), "values": chance.choice(({"motion_bucket_id": 60}, {"motion_bucket_id": "x"}, {"nope": 1}, [], 7)),
             "families": chance.choice(({}, {"warp": {}}, {"warp": 7}, [])), "aspect": chance.choice(("9:16", "1:0", 7))}  # fmt: skip
    text = chance.choice((json.dumps(whole), settings(chance), "[" * 100_000, "", "null", '{"title":'))
    return (
        text.encode("utf-8", "surrogatepass")
        if chance.random() < 0.8
        else mutated(text.encode("utf-8", "replace") or b"x", chance)
    )


ON_DISK: dict[str, Callable[[random.Random], bytes]] = {
    "queue": archive,
    "lora": header,
    "checkpoint": header,
    "preset": preset,
}
