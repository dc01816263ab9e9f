"""What all handlers share: the pieces, the lists of outputs, and the ways of changing them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from ...errors import SvdUiError
from ...request import GenerationRequest
from ..context import Context
from ..controls import info
from ..visitor import said
from . import footer, history
from .actions import Actions
from .form import OWN, notice, values_of
from .form_view import Left
from .stills import NO_STILLS, Stills

if TYPE_CHECKING:
    from .layout import Page

NEGATIVE_HELP = info("negative_prompt")
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def keeping(names: list[str], controls: list[Any], kept: gr.BrowserState) -> dict[str, Any]:
    """Arguments of an event that keeps ``controls`` in the browser by ``names``, without a call to the server."""
    quoted = "[" + ",".join(f"'{name}'" for name in names) + "]"
    js = f"(...values) => Object.fromEntries({quoted}.map((name, i) => [name, values[i]]))"
    return {"fn": None, "inputs": controls, "outputs": [kept], "js": js, **QUIET}


class Wiring:
    """Holds the pieces and the lists of components that several handlers share."""

    def __init__(self, page: Page, context: Context) -> None:
        self.page, self.context = page, context
        self.form = page.form
        self.actions = Actions(context, page.form)
        self.controls = list(page.form.controls.values())
        self.names = list(page.form.controls)
        self.undo = gr.State(None)
        self.limit = gr.State(history.PAGE)
        self.seen = gr.State("")
        self.preset_before = gr.State(OWN)
        self.change: gr.State = gr.State(None)
        self.looking = [page.watched, self.undo, self.limit]
        self.messages = [page.form.controls[name] for name in page.form.checked]
        self.view = [page.stage, page.history, page.timer, self.seen]
        self.left = [
            page.finder, page.door, page.prompt_side, page.summary, page.offer, page.still_offer, page.footer, page.make,
            page.obstacle, page.wall_toggle, page.wall_cost, page.loras, page.form.controls["checkpoint"],
            page.form.controls["negative_prompt"], page.form.controls["speed"], page.form.controls["schedule"],
            *(page.form.controls[name] for name in page.form.hinted),
        ]  # fmt: skip

    def values(self, values: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip(self.names, values, strict=True))

    def show(
        self, watched: str | None, request: gr.Request, undo: str | None = None, limit: int = history.PAGE
    ) -> tuple[Any, ...]:
        """Outputs ``self.view``."""
        view = self.actions.view(watched, request, undo, limit)
        return view.stage, view.history, gr.Timer(active=view.active), view.signature

    def device_line(self) -> str:
        return footer.status(self.context.device())

    def entered(
        self, files: list[dict[str, str]], stills: Stills, background: str, values: dict[str, Any]
    ) -> tuple[Any, ...]:
        """Files that came in by any way -> (stills, notice, *controls): pictures, or settings to restore."""
        unchanged = tuple(gr.skip() for _ in self.controls)

        def work() -> tuple[Any, ...]:
            stored = self.actions.stored(files) if files else None
            if stored is None:
                picture_side = tuple(gr.skip() if name != "source" else "Picture" for name in self.names)
                return self.actions.taken(files, background), "", *picture_side
            request, said = stored
            return self.restore(request, stills, values, said)

        try:
            return work()
        except SvdUiError as error:
            return gr.skip(), self.said(error), *unchanged

    def said(self, error: SvdUiError) -> str:
        """The notice of an error, as far as this visitor may read it."""
        return notice(said(error.to_dict(), self.context.remote))

    def restore(
        self,
        request: GenerationRequest,
        stills: Stills,
        values: dict[str, Any],
        said: list[str] | None = None,
        text: str = "Settings restored.",
    ) -> tuple[Any, ...]:
        """A request -> (stills, notice, *controls)."""
        still = self.actions.still_of(request)
        said = list(said or [])
        if request.image and still is None:
            said.append("Its picture is not on this machine: add it again.")
        if request.checkpoint != "auto" and request.checkpoint not in self.context.rows():
            said.append(f"Its checkpoint {request.checkpoint} is not known here: choose another.")
            request = request.model_copy(update={"checkpoint": "auto"})
        row = self.context.row(request.checkpoint)
        fresh = {**values, **values_of(request, row, still, self.form.fields)}
        pictures = {"items": [still], "at": 0} if still else NO_STILLS if request.image is None else stills
        text = " ".join([text, *said])
        return pictures, notice(text, good=not said), *(fresh[name] for name in self.names)

    def guarded(self, work: Callable[[], tuple[Any, ...]], count: int) -> tuple[Any, ...]:
        """``work()``, or nothing changed but the notice, which comes last of ``count`` outputs."""
        try:
            return work()
        except SvdUiError as error:
            return *(gr.skip() for _ in range(count - 1)), self.said(error)

    def keep(self) -> dict[str, Any]:
        """Arguments of an event that keeps the form in the browser, without a call to the server."""
        return keeping(self.names, self.controls, self.page.kept)

    def left_updates(self, left: Left) -> tuple[Any, ...]:
        """Outputs ``self.left``."""
        hints = (gr.update(placeholder=left.hints.get(name, "")) for name in self.form.hinted)
        return (
            left.finder,
            gr.update(visible=True if left.door else "hidden"),
            gr.update(visible=left.prompt_side),
            left.summary,
            left.offer,
            left.still_offer,
            left.footer,
            gr.update(interactive=left.can_make),
            left.obstacle,
            left.wall_toggle,
            left.wall_cost,
            left.loras,
            gr.update(choices=left.choices["checkpoint"]),
            gr.update(interactive=left.negative is None, info=left.negative or NEGATIVE_HELP),
            gr.update(choices=left.choices["speed"]),
            gr.update(choices=left.choices["schedule"]),
            *hints,
        )
