"""The public API: ``/submit /generate /status /cancel /history /schema``, its parameters made from the request's fields."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import FileData
from gradio.events import api as declare_api
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder

from ..assets import Added
from ..clip import in_shape_of
from ..errors import BadInput, BadPicture, SvdUiError
from ..events import ENDED
from ..jobs import Job, in_full, status
from ..media.footage import Moment
from ..migration import old_names, renamed
from ..notes import sentence as sentence_of
from ..request import GenerationRequest, has_source
from ..validation import validate
from .context import Context, uploaded
from .controls import CLIP
from .visitor import new_token, owner_of, reader

MAX_HISTORY = 100
TILE = "tile"
"""A parameter beside the request's fields: ``<job id>/<index>``, the tile of a wall to render in full."""
FRAME = "frame"
"""Another one: which frame of a clip that is uploaded as ``image``: first, last, its number from 0, or a time as 1.5s."""
POLL_SECONDS = 0.25


def declare(context: Context) -> None:
    """Attach the endpoints to the Blocks being built."""
    api = Api(context)
    declare_api(api.named(api.submit), api_name="submit", queue=False)
    declare_api(api.named(api.generate), api_name="generate", concurrency_limit=None)
    declare_api(api.status, api_name="status", queue=False)
    declare_api(api.cancel, api_name="cancel", queue=False)
    declare_api(api.history, api_name="history", queue=False)
    declare_api(api.schema, api_name="schema", queue=False)


class Api:
    """Endpoints over ``Jobs``. Errors reach the client as one sentence, never as a traceback."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def named(self, call: Callable[..., Awaitable[dict[str, Any]]]) -> Callable[..., Any]:
        """``call(values, token)`` as a function whose parameters are the request's fields, ``tile`` and ``frame``, each ``= None``."""
        types = {**{name: annotation(name) for name in CLIP.fields}, TILE: str | None, "token": str | None}
        # Names that fields once had come last, so that arguments by position stay what they are.
        types |= {old: annotation(name) for old, name in old_names(GenerationRequest).items()} | {FRAME: str | None}

        def bind(args: tuple[Any, ...]) -> tuple[dict[str, Any], str | None]:
            values = dict(zip(types, args, strict=False))
            token = values.pop("token", None)
            return {name: value for name, value in values.items() if value is not None}, token

        async def endpoint(*args: Any) -> dict[str, Any]:
            return await call(*bind(args))

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        arguments = [inspect.Parameter(name, kind, default=None, annotation=type_) for name, type_ in types.items()]
        endpoint.__signature__ = inspect.Signature(arguments, return_annotation=dict)  # type: ignore[attr-defined]
        endpoint.__annotations__ = {**types, "return": dict}
        endpoint.__name__, endpoint.__doc__ = call.__name__, call.__doc__
        return endpoint

    async def submit(self, values: dict[str, Any], token: str | None) -> dict[str, Any]:
        """Queue one clip, with ``wall`` a draft wall of small ones, with ``tile`` ("<job id>/<index>") the clip of one in full.

        Returns its id, the token that cancels it and lists its owner's history, and notes on what was changed about the picture.
        """
        token, notes = token or new_token(), list[str]()
        with sentence():
            job = await asyncio.to_thread(
                lambda: self.context.jobs.submit(self._request(values, notes), owner_of(token))
            )
        return {"id": job.id, "token": token, "notes": notes}

    async def generate(self, values: dict[str, Any], token: str | None) -> dict[str, Any]:
        """Make one clip, or with ``wall`` a draft wall, and wait for it. Returns the same as /status, and the token."""
        made = await self.submit(values, token)
        with sentence():
            job = await self._ended(made["id"])
        shown = self._shown(job)
        return {**shown, "notes": [*made["notes"], *shown["notes"]], "token": made["token"]}

    def status(self, id: str) -> dict:  # type: ignore[type-arg]
        """How a job stands, with its video once there is one; of a wall ``tiles``, each with its seed, motion and video."""
        with sentence():
            return self._shown(self.context.jobs.get(str(id)))

    def cancel(self, id: str, token: str | None = None) -> dict:  # type: ignore[type-arg]
        """Stop a job of yours, queued or running. Returns the same as /status."""
        with sentence():
            return self._shown(self.context.jobs.cancel(str(id), self._reader(token)))

    def history(self, limit: int = 24, before: str | None = None, token: str | None = None) -> list:  # type: ignore[type-arg]
        """Your jobs, newest first; ``before`` is the id of the last one of the previous page."""
        with sentence():
            limit = min(MAX_HISTORY, max(1, int(limit or 24)))
            return [self._shown(job) for job in self.context.jobs.history(self._reader(token), limit, before)]

    def schema(self) -> dict:  # type: ignore[type-arg]
        """JSON Schema of a request: every field with its range and default, every method and post step there is here."""
        return GenerationRequest.model_json_schema()

    async def _ended(self, id: str) -> Job:
        while True:
            job = await asyncio.to_thread(self.context.jobs.get, id)
            if job.state in ENDED:
                return job
            await asyncio.sleep(POLL_SECONDS)

    def _reader(self, token: str | None) -> str | None:
        return reader(self.context.settings, owner_of(token or new_token()))

    def _request(self, values: dict[str, Any], notes: list[str]) -> GenerationRequest:
        """What ``values`` ask for; ``notes`` gets what is said of the picture."""
        given = renamed(GenerationRequest, values)
        frame = given.pop(FRAME, None)
        if "image" in given:
            added = self._picture(given["image"], frame)
            given["image"] = added.ref
            notes += map(sentence_of, added.notes)
        elif frame is not None:
            raise BadInput("A frame is of a clip: upload one as image.", field=FRAME)
        request = validate(self._of_tile(given.pop(TILE, None)) | given)
        if not has_source(request):
            raise BadInput("Give exactly one of image and prompt.", field="image")
        size = self.context.assets.size(request.image) if request.image else None
        return in_shape_of(size, request, self.context.row(request.checkpoint))

    def _of_tile(self, name: str | None) -> dict[str, Any]:
        """What the full clip of a tile is made from; other parameters win over it. Raises NotFound."""
        if name is None:
            return {}
        id, _, index = str(name).partition("/")
        return in_full(self.context.jobs.get(id), int(index) if index.isdecimal() else -1).explicit()

    def _picture(self, value: Any, frame: Any) -> Added:
        """An upload, a picture or a clip -> what is kept of it. Plain strings are refused: gradio hands them over unchecked."""
        path = value.get("path") if isinstance(value, dict) else getattr(value, "path", None)
        if not isinstance(path, str) or not path:
            raise BadPicture("Upload the picture, for example with gradio_client's handle_file(...).")
        return self.context.assets.add(uploaded(path), moment=Moment.of(str(frame)) if frame is not None else None)

    def _shown(self, job: Job) -> dict[str, Any]:
        """The status object, its files as downloads."""
        shown = status(job, self.context.jobs.file)
        if "tiles" in shown:
            shown["tiles"] = [{**tile, "video": as_file(tile["video"])} for tile in shown["tiles"]]
        return {**shown, "preview": as_file(shown["preview"]), "video": as_file(shown["video"])}


def as_file(path: Any) -> dict[str, Any] | None:
    """A copy in gradio's cache, which is all it may serve."""
    if path is None:
        return None
    try:
        facts = path.stat()
        about = (path, facts.st_mtime_ns, facts.st_size, get_upload_folder())
        copy = _copied(*about)
        if not os.path.isfile(copy):  # swept meanwhile
            _copied.cache_clear()
            copy = _copied(*about)
    except OSError:
        return None
    return FileData(path=copy, orig_name=path.name).model_dump()


@lru_cache(maxsize=4096)
def _copied(path: Path, changed: int, size: int, folder: str) -> str:
    """The copy of a file as it is now; without this each look at a history reads all of its clips."""
    return str(save_file_to_cache(path, cache_dir=folder))


def annotation(name: str) -> Any:
    """The type a client sees: an upload for the picture, plain JSON for nested values, the field's own otherwise."""
    if name == "image":
        return FileData | None
    facts = CLIP[name]
    return (list if facts.several else dict if facts.model else facts.type) | None


@contextmanager
def sentence() -> Iterator[None]:
    """Turns our errors into what the client is shown."""
    try:
        yield
    except SvdUiError as error:
        raise gr.Error(error.message, print_exception=False) from None
