"""A model hub on loopback: the two endpoints a download uses, with ranges, gates, slow lines and drops."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def git_blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


AROUND_THE_UNET = (
    "model_index.json",
    "feature_extractor/preprocessor_config.json",
    "scheduler/scheduler_config.json",
    "scheduler/empty.txt",
    "image_encoder/config.json",
    "image_encoder/model.fp16.safetensors",
    "unet/config.json",
    "vae/config.json",
    "vae/diffusion_pytorch_model.fp16.safetensors",
)
"""What a download of a checkpoint brings beside the U-Net's weights."""


class FakeHub:
    """``refuse`` is a status for files, ``drop_after`` cuts the first big answer, ``pause`` slows each 64 KB.

    ``prefix`` is what every address begins with: a mirror's path, or another host's address where this is the proxy.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.refuse: int | None = None
        self.refuse_listing: int | None = None
        self.drop_after: int | None = None
        self.corrupt: str | None = None
        self.pause = 0.0
        self.prefix = ""
        self.requests: list[tuple[str, str | None]] = []  # path, Range
        self.tokens: list[str | None] = []
        self.url = ""

    def listing(self) -> dict[str, Any]:
        siblings = []
        for path, data in self.files.items():
            row: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": git_blob(data)}
            if path.endswith(".safetensors"):
                row["lfs"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pointerSize": 100}
            siblings.append(row)
        return {"id": "owner/name", "sha": COMMIT, "siblings": siblings, "private": False, "tags": [], "downloads": 0}

    @contextmanager
    def serving(self) -> Iterator[FakeHub]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path, asked = request.path.split("?")[0], request.headers.get("Range")
        if not path.startswith(self.prefix):
            self._refuse(request, 404)
            return
        path = path.removeprefix(self.prefix)
        self.requests.append((path, asked))
        self.tokens.append(request.headers.get("Authorization"))
        name = path.split(f"/resolve/{COMMIT}/")[-1]
        is_listing = path.startswith("/api/models/")
        refused = self.refuse_listing if is_listing else self.refuse
        if refused or not (is_listing or name in self.files):
            self._refuse(request, refused or 404)
            return
        data = json.dumps(self.listing()).encode() if is_listing else self.files[name]
        if name == self.corrupt:
            data = bytes(len(data))
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        self._send(request, 206 if asked else 200, data[start:])

    def _refuse(self, request: BaseHTTPRequestHandler, status: int) -> None:
        request.send_response(status)
        if status in (401, 403):
            request.send_header("X-Error-Code", "GatedRepo")
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _send(self, request: BaseHTTPRequestHandler, status: int, data: bytes) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        drop = self.drop_after if len(data) > 100_000 else None
        if drop is not None:
            self.drop_after, data = None, data[:drop]
        try:
            for at in range(0, len(data), 65536):
                request.wfile.write(data[at : at + 65536])
                time.sleep(self.pause)
        except OSError:
            return  # the client left
        if drop is not None:
            request.close_connection = True


def repository(weight: int = 3_000_000) -> dict[str, bytes]:
    """The files of a Stable Video Diffusion repository, small, with the ones that are not wanted."""
    index = {
        "_class_name": "StableVideoDiffusionPipeline",
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "unet": ["diffusers", "UNetSpatioTemporalConditionModel"],
        "vae": ["diffusers", "AutoencoderKLTemporalDecoder"],
        "safety_checker": [None, None],
    }
    seed = bytes(range(251))
    return {
        "README.md": b"# card",
        "model_index.json": json.dumps(index).encode(),
        "svd.safetensors": b"one file, not wanted" * 1000,
        "feature_extractor/preprocessor_config.json": b'{"size": 224}',
        "scheduler/scheduler_config.json": b'{"sigma_max": 700.0}',
        "scheduler/empty.txt": b"",
        "image_encoder/config.json": b'{"hidden": 1}',
        "image_encoder/model.safetensors": b"full precision" * 100,
        "image_encoder/model.fp16.safetensors": b"half" * 100,
        "unet/config.json": b'{"num_frames": 14}',
        "unet/diffusion_pytorch_model.safetensors": b"full precision, not wanted" * 1000,
        "unet/diffusion_pytorch_model.fp16.safetensors": (seed * (weight // 251 + 1))[:weight],
        "vae/config.json": b'{"scale": 1}',
        "vae/diffusion_pytorch_model.fp16.safetensors": b"vae" * 100,
        "vae/diffusion_pytorch_model.safetensors": b"vae full" * 100,
        "vae/diffusion_pytorch_model.fp16.bin": b"pickle" * 100,
    }
