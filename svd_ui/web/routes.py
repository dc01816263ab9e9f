"""The files the page shows, served by id only: a job's results, a still, an example. The data folder stays closed."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Awaitable, Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from ..errors import SvdUiError
from ..finetune.runs import TrainingRuns
from ..jobs import Job, tile_of
from ..media.footage import LAST, Moment
from ..media.image import fit
from .animate.sketches import SKETCHES
from .animate.stills import EXAMPLES, examples
from .context import uploaded
from .health import health
from .plain import plain
from .queue_routes import queue_routes
from .train import views
from .visitor import Asked, may_train

if TYPE_CHECKING:
    from ..assets import Assets
    from .context import Context

THUMB = 960
EXAMPLE_THUMB = 240
TYPES = {
    ".mp4": "video/mp4",
    ".jpg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".zip": "application/zip",
}
SAMPLES = "/svd/run/{name}/{step}"
NAMES = re.compile(r"video|poster|frames|animation|preview|tile-\d{1,3}")
Endpoint = Callable[[Request], Awaitable[Response]]
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


def routes(context: Context) -> list[Route]:
    """To be put before gradio's own. Where there is a login ``guard.login`` asks for it."""

    async def job_file(request: Request) -> Response:
        name = request.path_params["name"]
        if not NAMES.fullmatch(name):
            return _gone()
        try:
            job = await run_in_threadpool(context.jobs.get, request.path_params["id"])
        except SvdUiError:
            return _gone()
        path = await run_in_threadpool(context.jobs.file, job, name)
        if path is None or not path.is_file():
            return _gone()
        download = download_name(job, path, name) if "download" in request.query_params else None
        headers = {**FOREVER, "Cache-Control": "no-store"} if name == "preview" else FOREVER
        return FileResponse(path, media_type=TYPES.get(path.suffix), filename=download, headers=headers)

    async def still(request: Request) -> Response:
        ref = f"sha256:{request.path_params['digest']}"
        try:
            wanted = _numbers(request)
            data = await run_sync(_still_bytes, context.assets, ref, wanted, limiter=_turns("still"))
        except (SvdUiError, ValueError, OSError, KeyError):
            return _gone()
        return Response(data, media_type="image/png" if wanted else "image/jpeg", headers=FOREVER)

    async def frame(request: Request) -> Response:
        try:
            path, at = uploaded(request.query_params["path"]), float(request.query_params["at"])
            async with context.frames.of(context.asker(Asked(request))):
                data = await run_sync(_frame_bytes, context.assets, path, at, limiter=_turns("frame"))
        except (SvdUiError, ValueError, OSError, KeyError):
            return _gone()
        return Response(data, media_type="image/jpeg", headers=FOREVER)

    async def example(request: Request) -> Response:
        path = EXAMPLES / request.path_params["name"]
        if path not in examples():
            return _gone()
        return Response(await run_in_threadpool(_example_bytes, path), media_type="image/jpeg", headers=FOREVER)

    async def sketch(request: Request) -> Response:
        data = SKETCHES.get(request.path_params["name"])
        return _gone() if data is None else Response(data, media_type="image/jpeg", headers=FOREVER)

    runs = TrainingRuns(context.settings)

    async def sample(request: Request) -> Response:
        if not context.who(Asked(request)).operates:
            return _gone()
        path = await run_in_threadpool(find_sample, runs, request.path_params["name"], request.path_params["step"])
        return _gone() if path is None else FileResponse(path, media_type="video/mp4", headers=FOREVER)

    paths: dict[str, Endpoint] = {
        "/svd/job/{id}/{name}": job_file,
        "/svd/still/{digest}": still,
        "/svd/example/{name}": example,
        "/svd/frame": frame,
        "/svd/sketch/{name}": sketch,
    }
    if may_train(context.settings):
        paths[SAMPLES] = sample
    paths |= {**plain(context), **health(context)}
    looks = [Route(path, endpoint, methods=["GET", "HEAD"]) for path, endpoint in paths.items()]
    queue = queue_routes(context).items()
    return [*looks, *(Route(path, endpoint, methods=methods) for path, (endpoint, methods) in queue)]


def download_name(job: Job, path: Path, name: str = "video") -> str:
    """``<checkpoint>-<seed>.<ending>``, a tile's with its motion: says what it is and sorts well."""
    request = job.known_request
    tile = tile_of(job, name)
    what = f"{request.seed}" if tile is None else f"{tile.seed}-motion-{tile.motion_bucket_id}"
    return re.sub(r"[^\w\-]+", "-", f"{request.checkpoint}-{what}") + path.suffix


def _gone() -> Response:
    return Response("There is nothing here.", status_code=404, media_type="text/plain")


def _numbers(request: Request) -> tuple[int, int, float, float] | None:
    """(width, height, focus_x, focus_y) of the query, or None for the whole picture. Raises ValueError."""
    query = request.query_params
    if "w" not in query:
        return None
    width, height, x, y = int(query["w"]), int(query["h"]), float(query.get("x", 0.5)), float(query.get("y", 0.5))
    if not (1 <= width <= 2048 and 1 <= height <= 2048 and 0 <= x <= 1 and 0 <= y <= 1):
        raise ValueError("out of range")
    return width, height, x, y


@lru_cache(maxsize=2)
def _opened(assets: Assets, ref: str) -> Image.Image:
    """The last pictures decoded: moving the focus asks for the same one again and again."""
    return assets.open(ref)


def _still_bytes(assets: Assets, ref: str, wanted: tuple[int, int, float, float] | None) -> bytes:
    image = _opened(assets, ref)
    if wanted is None:
        return _jpeg(image, THUMB)
    data = io.BytesIO()
    fit(image, *wanted).save(data, "PNG", compress_level=1)
    return data.getvalue()


@cache
def _turns(kind: str) -> CapacityLimiter:
    """Threads of their own for what is decoded: a clip may take a while, and a scrubber asks often."""
    return CapacityLimiter(2)


@lru_cache(maxsize=64)
def _frame_bytes(assets: Assets, path: Path, at: float) -> bytes:
    """The frame at ``at`` seconds, the last one where that is negative. Raises ValueError for no number."""
    if not math.isfinite(at):
        raise ValueError("no time")
    return _jpeg(assets.frame(path, LAST if at < 0 else Moment(seconds=min(at, 1e6))), THUMB)


@lru_cache(maxsize=64)
def _example_bytes(path: Path) -> bytes:
    with Image.open(path) as image:
        image.draft("RGB", (EXAMPLE_THUMB * 2, EXAMPLE_THUMB * 2))
        return _jpeg(image.convert("RGB"), EXAMPLE_THUMB)


def _jpeg(image: Image.Image, side: int) -> bytes:
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    small.save(data, "JPEG", quality=88)
    return data.getvalue()


def find_sample(runs: TrainingRuns, name: str, step: str) -> Path | None:
    """The sample that run ``name`` made at ``step``, among those that are there."""
    if not re.fullmatch(r"\d{1,9}", step):
        return None
    try:
        folder = runs.folder(name)
    except SvdUiError:
        return None
    return dict(views.samples(folder)).get(int(step))
