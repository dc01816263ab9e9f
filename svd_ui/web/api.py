"""The public API: ``/submit /generate /status /cancel /history /words /schema``, its parameters made from the request's fields."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from gradio import FileData
from gradio.events import api as declare_api

from ..assets import Added
from ..clip import in_shape_of
from ..errors import BadInput, BadPicture, SvdUiError
from ..events import ENDED
from ..jobs import Job, in_full, status
from ..media.footage import Moment
from ..migration import old_names, renamed
from ..notes import sentence as sentence_of
from ..pictures import Place, taken
from ..request import GenerationRequest, has_source
from ..steering.words import recipe
from ..validation import validate
from .context import Context, uploaded
from .controls import CLIP
from .copies import handed_out
from .visitor import Visitor, new_token, said

MAX_HISTORY = 100
MAX_TEXT = 200
TILE = "tile"
"""A parameter beside the request's fields: ``<job id>/<index>``, the tile of a wall to render in full."""
FRAME = "frame"
"""Another one: which frame of a clip that is uploaded as ``image``: first, last, its number from 0, or a time as 1.5s."""
POLL_SECONDS = 0.25
PICTURES = 6
INLINE = "Here a GPU is lent while its caller waits: call generate, not submit."


def declare(context: Context) -> None:
    """Attach the endpoints to the Blocks being built."""
    api = Api(context)
    declare_api(api.named(api.submit), api_name="submit", queue=False)
    declare_api(api.named(api.generate), api_name="generate", concurrency_limit=None)
    declare_api(api.status, api_name="status", queue=False)
    declare_api(api.cancel, api_name="cancel", queue=False)
    declare_api(api.history, api_name="history", queue=False)
    declare_api(api.words, api_name="words", queue=False)
    declare_api(api.schema, api_name="schema", queue=False)


class Api:
    """Endpoints over ``Jobs``. Errors reach the client as one sentence, never as a traceback."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def named(self, call: Callable[..., Awaitable[dict[str, Any]]]) -> Callable[..., Any]:
        """``call(values, token, request)`` as a function whose parameters are the request's fields, ``tile`` and ``frame``, each ``= None``."""
        types = {**{name: annotation(name) for name in CLIP.fields}, TILE: str | None, "token": str | None}
        # Names that fields once had come last, so that arguments by position stay what they are.
        types |= {old: annotation(name) for old, name in old_names(GenerationRequest).items()} | {FRAME: str | None}
        types["request"] = gr.Request  # gradio's own to give, and no parameter to a client

        def bind(args: tuple[Any, ...]) -> tuple[dict[str, Any], str | None, gr.Request]:
            values = dict(zip(types, args, strict=False))
            token, request = values.pop("token", None), values.pop("request")
            return {name: value for name, value in values.items() if value is not None}, token, request

        async def endpoint(*args: Any) -> dict[str, Any]:
            return await call(*bind(args))

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        arguments = [inspect.Parameter(name, kind, default=None, annotation=type_) for name, type_ in types.items()]
        endpoint.__signature__ = inspect.Signature(arguments, return_annotation=dict)  # type: ignore[attr-defined]
        endpoint.__annotations__ = {**types, "return": dict}
        endpoint.__name__, endpoint.__doc__ = call.__name__, call.__doc__
        return endpoint

    async def submit(self, values: dict[str, Any], token: str | None, request: gr.Request) -> dict[str, Any]:
        """Queue one clip, with ``wall`` a draft wall of small ones, with ``tile`` ("<job id>/<index>") the clip of one in full.

        Returns its id, the token that cancels it and lists its owner's history, and notes on what was changed about the picture.
        """
        with self._sentence():
            if self.context.jobs.inline:
                raise BadInput(INLINE)
        return await self._submit(values, token, request)

    async def _submit(self, values: dict[str, Any], token: str | None, request: gr.Request) -> dict[str, Any]:
        notes = list[str]()
        with self._sentence():
            token = text_of(token, "token") or new_token()
            visitor = self.context.who(request, token)
            job = await run_sync(self._submitted, values, notes, visitor, limiter=_pictures())
        return {"id": job.id, "token": token, "notes": notes}

    def _submitted(self, values: dict[str, Any], notes: list[str], visitor: Visitor) -> Job:
        wanted = self._request(values, notes)
        with self.context.admission.of(visitor, [wanted]) as made:
            job = self.context.jobs.submit(wanted, visitor.owner)
            made.append(job.id)
        return job

    async def generate(self, values: dict[str, Any], token: str | None, request: gr.Request) -> dict[str, Any]:
        """Make one clip, or with ``wall`` a draft wall, and wait for it. Returns the same as /status, and the token."""
        async with self.context.lane(request):  # as ``Turns`` holds it for what does not wait
            made = await self._submit(values, token, request)
        with self._sentence():
            if self.context.jobs.inline:
                await asyncio.to_thread(self.context.work, request, made["token"])
            job = await self._ended(made["id"])
        shown = self._shown(job)
        return {**shown, "notes": [*made["notes"], *shown["notes"]], "token": made["token"]}

    def status(self, id: str) -> dict:  # type: ignore[type-arg]
        """How a job stands, with its video once there is one; of a wall ``tiles``, each with its seed, motion and video."""
        with self._sentence():
            return self._shown(self.context.jobs.get(str(id)))

    def cancel(self, id: str, request: gr.Request, token: str | None = None) -> dict:  # type: ignore[type-arg]
        """Stop a job of yours, queued or running. Returns the same as /status."""
        with self._sentence():
            return self._shown(self.context.jobs.cancel(str(id), self._reader(request, token)))

    def history(
        self, request: gr.Request, limit: int = 24, before: str | None = None, token: str | None = None
    ) -> list:  # type: ignore[type-arg]
        """Your jobs, newest first; ``before`` is the id of the last one of the previous page."""
        with self._sentence():
            reader, before = self._reader(request, token), text_of(before, "before")
            return [self._shown(job) for job in self.context.jobs.history(reader, limit_of(limit), before)]

    def words(self, text: str, without: list | None = None, kind: str = "") -> dict:  # type: ignore[type-arg]
        """What words ask for, "slow push-in, hold the background", as values for /submit: ``{"chips", "values", "unknown"}``.

        ``without`` are ids of chips to leave out; ``kind`` is a method that is chosen already, which the words then fill.
        """
        with self._sentence():
            try:
                left_out = [id for id in without if isinstance(id, int)] if isinstance(without, list) else []
                return recipe(str(text or ""), left_out, str(kind or "")).plain()
            except ValueError as error:
                raise BadInput(f"{str(error).capitalize()}.", field="text") from error

    def schema(self) -> dict:  # type: ignore[type-arg]
        """JSON Schema of a request: every field with its range and default, every method and post step there is here."""
        return GenerationRequest.model_json_schema()

    async def _ended(self, id: str) -> Job:
        while True:
            job = await asyncio.to_thread(self.context.jobs.get, id)
            if job.state in ENDED:
                return job
            await asyncio.sleep(POLL_SECONDS)

    def _reader(self, request: gr.Request, token: str | None) -> str | None:
        return self.context.who(request, text_of(token, "token") or new_token()).reads

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
        given = taken(given, lambda place, value: self._part(place, value, notes))
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

    def _part(self, place: Place, value: Any, notes: list[str]) -> str:
        """An upload inside a method or step -> its ref; ``notes`` gets what is said of it."""
        try:
            added = self._picture(value)
        except BadPicture as error:
            raise BadPicture(f"{place.title}: {error.message}", field=place.field) from None
        notes += (f"{place.title}: {sentence_of(note)}" for note in added.notes)
        return added.ref

    def _picture(self, value: Any, frame: Any = None) -> Added:
        """An upload, a picture or a clip -> what is kept of it. Plain strings are refused: gradio hands them over unchecked."""
        path = value.get("path") if isinstance(value, dict) else getattr(value, "path", None)
        if not isinstance(path, str) or not path:
            raise BadPicture("Upload the picture, for example with gradio_client's handle_file(...).")
        return self.context.assets.add(uploaded(path), moment=Moment.of(str(frame)) if frame is not None else None)

    def _shown(self, job: Job) -> dict[str, Any]:
        """The status object, its files as downloads."""
        return shown(self.context, job, lambda name, path: as_file(job.id, path))

    @contextmanager
    def _sentence(self) -> Iterator[None]:
        """Turns our errors into what the client is shown."""
        try:
            yield
        except SvdUiError as error:
            raise gr.Error(said(error.to_dict(), self.context.remote), print_exception=False) from None


@cache
def _pictures() -> CapacityLimiter:
    """Threads of their own: who waits for a clip is told of its end while pictures are read."""
    return CapacityLimiter(PICTURES)


def shown(context: Context, job: Job, hand_out: Callable[[str, Path], Any]) -> dict[str, Any]:
    """The status object of a job, each file (its name, where it lies) as ``hand_out`` makes it; folders of the server stay its
    operator's.
    """

    def handed(found: Job, name: str) -> Any:
        path = context.jobs.file(found, name)
        return None if path is None else hand_out(name, path)

    told = status(job, handed)
    error = told["error"]
    return {**told, "error": error and {**error, "message": said(job.error or {}, context.remote)}}


def as_file(id: str, path: Path) -> dict[str, Any] | None:
    """A copy in gradio's cache, which is all it may serve."""
    copy = handed_out(id, path)
    return None if copy is None else FileData(path=str(copy), orig_name=path.name).model_dump()


def text_of(value: Any, name: str) -> str | None:
    """A parameter that is text, or left out. Raises BadInput: gradio hands over whatever JSON there was."""
    if value is not None and not (isinstance(value, str) and len(value) <= MAX_TEXT):
        raise BadInput(f"{name} is a text of at most {MAX_TEXT} letters.", field=name)
    return value or None


def limit_of(limit: Any) -> int:
    """How many jobs are listed. Raises BadInput."""
    try:
        return min(MAX_HISTORY, max(1, int(limit or 24)))
    except (TypeError, ValueError, OverflowError):
        raise BadInput(f"limit is a number from 1 to {MAX_HISTORY}.", field="limit") from None


def annotation(name: str) -> Any:
    """The type a client sees: an upload for the picture, plain JSON for nested values, the field's own otherwise."""
    if name == "image":
        return FileData | None
    facts = CLIP[name]
    return (list if facts.several else dict if facts.model else facts.type) | None
