"""Which event calls which action. Handlers are quick: ``queue=False``, and no spinner over what is being read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from ..errors import SvdUiError
from ..jobs import Job
from ..request import GenerationRequest
from . import footer, history, watch
from .actions import Actions
from .context import Context
from .form import OWN, SHAPING, switched, values_of
from .messages import field_updates, notice
from .preview import Left, left_side
from .still import NO_STILLS, Stills, checked

if TYPE_CHECKING:
    from .page import Page

QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def wire(page: Page, context: Context) -> None:
    """Attach every handler; one function per part of the page."""
    wiring = Wiring(page, context)
    wiring.opening()
    wiring.pictures()
    wiring.settings()
    wiring.running()
    wiring.looking_back()


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
        self.messages = [page.form.controls[name] for name in page.form.checked]
        self.view = [page.stage, page.history, page.timer, self.seen]
        self.left = [
            page.finder, page.door, page.prompt_side, page.summary, page.offer, page.still_offer, page.footer, page.make,
            *(page.form.controls[name] for name in page.form.hinted),
        ]  # fmt: skip

    def values(self, values: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip(self.names, values, strict=True))

    def show(self, watched: str | None, request: gr.Request, undo: str | None = None, limit: int = history.PAGE) -> tuple[Any, ...]:
        """Outputs ``self.view``."""
        view = self.actions.view(watched, request, undo, limit)
        return view.stage, view.history, gr.Timer(active=view.active), view.signature

    # Opening the page

    def opening(self) -> None:
        page = self.page

        def first(request: gr.Request, kept: Any, stills: Any, watched: str | None) -> tuple[Any, ...]:
            values = self.form.kept(kept)
            stills = checked(self.context.assets, stills)
            watched = request.query_params.get("job") or watched
            watched = watched if self.actions.job(watched) else None
            left = left_side(self.context, values, stills)
            return (
                *values.values(), values["preset"], stills, watched,
                *self.show(watched, request), self.device_line(), *self.left_updates(left),
            )  # fmt: skip

        outputs = [*self.controls, self.preset_before, page.stills, page.watched, *self.view, page.status, *self.left]
        gr.on([page.root.load], first, [page.kept, page.stills, page.watched], outputs, **QUIET)
        page.slow.tick(self.device_line, None, page.status, **QUIET)

        def release() -> str:
            self.context.jobs.release()
            gr.Info("Memory is being freed.", duration=3)
            return self.device_line()

        page.status.release(release, None, page.status, **QUIET)

    def device_line(self) -> str:
        return footer.status(self.context.device())

    # Pictures

    def pictures(self) -> None:
        page = self.page
        background = self.form.controls["background"]

        def take(event: gr.EventData, stills: Stills, background: str, *values: Any) -> tuple[Any, ...]:
            return self.entered(list(event.files or []), stills, background, self.values(values))

        def snap(path: str | None, stills: Stills, background: str, *values: Any) -> tuple[Any, ...]:
            if not path:
                return gr.Image(), *(gr.skip() for _ in range(2 + len(self.controls)))
            taken = self.entered([{"path": path}], stills, background, self.values(values))
            return gr.Image(value=None, visible=False), *taken

        def example(event: gr.EventData) -> tuple[Any, ...]:
            return self.guarded(lambda: (self.actions.example(str(event.name)), ""), 2)

        def aim(event: gr.EventData) -> tuple[float, float]:
            return min(1.0, max(0.0, float(event.x))), min(1.0, max(0.0, float(event.y)))

        def choose(event: gr.EventData, stills: Stills) -> Stills:
            return {**stills, "at": int(event.at)}

        def drop(event: gr.EventData, stills: Stills) -> Stills:
            items = [item for index, item in enumerate(stills["items"]) if index != int(event.at)]
            return {"items": items, "at": min(stills["at"], max(0, len(items) - 1))}

        entered = [page.stills, page.notice, *self.controls]
        page.door.take(take, [page.stills, background, *self.controls], entered, **QUIET).then(**self.keep())
        page.door.example(example, None, [page.stills, page.notice], **QUIET)
        page.door.webcam(lambda: gr.Image(visible=True), None, page.webcam, **QUIET)
        page.webcam.input(snap, [page.webcam, page.stills, background, *self.controls], [page.webcam, *entered], **QUIET)
        focus = [self.form.controls["focus_x"], self.form.controls["focus_y"]]
        page.finder.aim(aim, None, focus, **QUIET).then(**self.keep())
        page.finder.choose(choose, page.stills, page.stills, **QUIET)
        page.finder.drop(drop, page.stills, page.stills, **QUIET)
        page.finder.clear(lambda: NO_STILLS, None, page.stills, **QUIET)
        background.change(self.actions.repainted, [page.stills, background], page.stills, **QUIET)

    def entered(self, files: list[dict[str, str]], stills: Stills, background: str, values: dict[str, Any]) -> tuple[Any, ...]:
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
            return gr.skip(), notice(error.message), *unchanged

    def restore(
        self, request: GenerationRequest, stills: Stills, values: dict[str, Any], said: list[str] | None = None
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
        text = " ".join(["Settings restored.", *said])
        return pictures, notice(text, good=not said), *(fresh[name] for name in self.names)

    def guarded(self, work: Callable[[], tuple[Any, ...]], count: int) -> tuple[Any, ...]:
        """``work()``, or nothing changed but the notice, which comes last of ``count`` outputs."""
        try:
            return work()
        except SvdUiError as error:
            return *(gr.skip() for _ in range(count - 1)), notice(error.message)

    # Settings

    def keep(self) -> dict[str, Any]:
        """Arguments of an event that keeps the form in the browser, without a call to the server."""
        names = "[" + ",".join(f"'{name}'" for name in self.names) + "]"
        js = f"(...values) => Object.fromEntries({names}.map((name, i) => [name, values[i]]))"
        return {"fn": None, "inputs": self.controls, "outputs": [self.page.kept], "js": js, **QUIET}

    def settings(self) -> None:
        page, form = self.page, self.form

        def refresh(stills: Stills, *values: Any) -> tuple[Any, ...]:
            return self.left_updates(left_side(self.context, self.values(values), stills))

        events = [control.change for name, control in form.controls.items() if name in SHAPING]
        gr.on(
            [*events, page.stills.change], refresh, [page.stills, *self.controls], self.left, trigger_mode="always_last", **QUIET
        ).then(None, js="() => svdui.count()", **QUIET)
        gr.on([control.input for control in self.controls], **self.keep())

        def preset(new: str, old: str, *values: Any) -> tuple[Any, ...]:
            from .page import describe_preset

            changes = switched(old, new, self.values(values))
            updates = tuple(changes.get(name, gr.skip()) for name in self.names)
            return new, describe_preset(new), *updates

        chosen = form.controls["preset"]
        chosen.input(
            preset, [chosen, self.preset_before, *self.controls], [self.preset_before, page.preset_help, *self.controls], **QUIET
        ).then(**self.keep())
        js = "() => Math.floor(Math.random() * 4294967296)"
        page.shuffle.click(None, None, form.controls["seed"], js=js, **QUIET).then(**self.keep())

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
            *hints,
        )

    # Running

    def running(self) -> None:
        page = self.page
        done = [page.watched, page.notice, *self.view, *self.messages]

        def start(submit: Callable[..., Job]) -> Callable[..., tuple[Any, ...]]:
            def handler(request: gr.Request, stills: Stills, watched: str | None, *values: Any) -> tuple[Any, ...]:
                try:
                    job = submit(stills, self.values(values), request)
                except SvdUiError as error:
                    view = (gr.skip() for _ in self.view)
                    return watched, notice(error.message), *view, *field_updates(error, self.form)
                return job.id, "", *self.show(job.id, request), *field_updates(None, self.form)

            return handler

        inputs = [page.stills, page.watched, *self.controls]
        page.animate.click(start(self.actions.run), inputs, done, **QUIET).then(None, js="() => svdui.submitted()", **QUIET)
        make = start(lambda stills, values, request: self.actions.make_still(values, request))
        page.make.click(make, inputs, done, **QUIET).then(None, js="() => svdui.submitted()", **QUIET)
        self.following()
        self.stage_buttons()

    def following(self) -> None:
        page = self.page

        async def tick(request: gr.Request, watched: str | None, seen: str, undo: str | None, limit: int) -> tuple[Any, ...]:
            shown = await asyncio.to_thread(self.show, watched, request, undo, limit)
            job = await asyncio.to_thread(self.actions.job, watched)
            return *shown, self.made_still(job, seen)

        inputs = [page.watched, self.seen, self.undo, self.limit]
        page.timer.tick(tick, inputs, [*self.view, page.stills], **QUIET)

    def made_still(self, job: Job | None, seen: str) -> Any:
        """The still a prompt has just become, for the form; nothing when it was seen before."""
        if job is None or job.kind != "still" or job.state != "finished" or seen == watch.state_of(job):
            return gr.skip()
        try:
            return {"items": [self.actions.reuse(job.id)], "at": 0}
        except SvdUiError:
            return gr.skip()

    def stage_buttons(self) -> None:
        page = self.page

        def again(action: Callable[..., Job]) -> Callable[..., tuple[Any, ...]]:
            def handler(event: gr.EventData, request: gr.Request, watched: str | None) -> tuple[Any, ...]:
                try:
                    job = action(str(event.id or watched), request)
                except SvdUiError as error:
                    return watched, notice(error.message), *(gr.skip() for _ in self.view)
                return job.id, "", *self.show(job.id, request)

            return handler

        started = [page.watched, page.notice, *self.view]
        page.stage.retry(again(self.actions.retry), page.watched, started, **QUIET)
        page.stage.reseed(again(self.actions.reseed), page.watched, started, **QUIET)
        page.offer.fetch(again(self.actions.fetch), page.watched, started, **QUIET)
        page.still_offer.fetch(again(self.actions.fetch), page.watched, started, **QUIET)

        def stop(request: gr.Request, watched: str | None) -> tuple[Any, ...]:
            try:
                self.actions.stop(watched or "", request)
            except SvdUiError as error:
                return *(gr.skip() for _ in self.view), notice(error.message)
            return *self.show(watched, request), ""

        page.stage.stop(stop, page.watched, [*self.view, page.notice], **QUIET)

        def reuse(watched: str | None) -> tuple[Any, ...]:
            def work() -> tuple[Any, ...]:
                still = self.actions.reuse(watched or "")
                return "Prompt" if still.get("prompt") else "Picture", {"items": [still], "at": 0}, ""

            return self.guarded(work, 3)

        page.stage.reuse(reuse, page.watched, [self.form.controls["source"], page.stills, page.notice], **QUIET).then(
            None, js="() => document.querySelector('#left').scrollIntoView({behavior: 'smooth'})", **QUIET
        )

    # History

    def looking_back(self) -> None:
        page = self.page
        restored = [page.stills, page.notice, *self.controls]

        def restore(event: gr.EventData, watched: str | None, stills: Stills, *values: Any) -> tuple[Any, ...]:
            try:
                request = self.actions.restored(str(event.id or watched))
                return self.restore(request, stills, self.values(values))
            except SvdUiError as error:
                return gr.skip(), notice(error.message), *(gr.skip() for _ in self.controls)

        for piece in (page.stage, page.history):
            piece.restore(restore, [page.watched, page.stills, *self.controls], restored, **QUIET).then(**self.keep())

        def view(event: gr.EventData, request: gr.Request, undo: str | None, limit: int) -> tuple[Any, ...]:
            return str(event.id), *self.show(str(event.id), request, undo, limit)

        page.history.view(view, [self.undo, self.limit], [page.watched, *self.view], **QUIET).then(
            None, js="() => svdui.look()", **QUIET
        )

        def change(action: Callable[[str, gr.Request], None], deleting: bool) -> Callable[..., tuple[Any, ...]]:
            def handler(event: gr.EventData, request: gr.Request, watched: str | None, limit: int) -> tuple[Any, ...]:
                id = str(event.id)
                try:
                    action(id, request)
                except SvdUiError as error:
                    return watched, None, notice(error.message), *(gr.skip() for _ in self.view)
                watched = (None if watched == id else watched) if deleting else id
                undo = id if deleting else None
                return watched, undo, "", *self.show(watched, request, undo, limit)

            return handler

        changed = [page.watched, self.undo, page.notice, *self.view]
        page.history.remove(change(self.actions.delete, True), [page.watched, self.limit], changed, **QUIET)
        page.history.undo(change(self.actions.undelete, False), [page.watched, self.limit], changed, **QUIET)

        def more(request: gr.Request, watched: str | None, undo: str | None, limit: int) -> tuple[Any, ...]:
            return limit + history.PAGE, *self.show(watched, request, undo, limit + history.PAGE)

        page.history.more(more, [page.watched, self.undo, self.limit], [self.limit, *self.view], **QUIET)

