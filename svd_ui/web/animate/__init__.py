"""The Animate side of the page, the form on the left, the stage and the history on the right: which piece stands where.

What the pieces do is in ``events`` and ``job_events``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from ...hosting import signs_in
from ...request import FOCUS
from .. import train
from ..api import declare
from ..blocks import Turns
from ..context import Context
from ..controls import CLIP
from ..formatting import html
from ..page import SECRET, Page
from ..visitor import may_train
from . import directing, editing, events, groups, job_events, spoken, stage
from .device_line import status
from .form import EXTRAS, FRESH, PICTURE, PROMPT, preset_choices
from .form_view import footer, wall_toggle
from .offers import both_sides
from .stills import ASPECT_CHOICES, NO_STILLS, door, shaped

SCRIPTS = {
    "status": "svdui.mount('status', element, trigger, watch)  /* 'release' */",
    "door": "svdui.door(element, trigger, upload)  /* 'take' 'example' */",
    "finder": "svdui.finder(element, trigger, watch)  /* 'aim' 'reframe' 'seek' 'choose' 'drop' 'clear' */",
    "offer": "svdui.mount('offer', element, trigger, watch, props)  /* 'fetch' 'take' 'own' 'unown' */",
    "still_offer": "svdui.mount('offer', element, trigger, watch, props)  /* 'fetch' */",
    "lora_list": "svdui.loras(element, trigger)  /* 'choose' 'weigh' */",
    "obstacle": "svdui.mount('obstacle', element, trigger, watch)  /* 'remedy' 'unremedy' */",
    "wall_toggle": "svdui.wallToggle(element, watch)",
    "spoken": "svdui.spoken(element, trigger, watch)  /* 'unsay' */",
    "tools": "svdui.tools(element)",
    "sketch": "svdui.sketch(element, watch)",
    "jump": "svdui.jumps(element)",
    "pulse": "svdui.pulses(trigger)  /* 'beat' */",
    "edit_acts": "svdui.editing(element, trigger, watch)  /* 'edit' 'leave' 'begun' */",
    "stage": "svdui.mount('stage', element, trigger, watch, props)"
    "  /* 'stop' 'stop_all' 'retry' 'reuse' 'reseed' 'restore' 'fetch' 'full' 'dials' 'view' 'further' 'untile' */",
    "history": "svdui.mount('history', element, trigger, watch, props)"
    "  /* 'view' 'restore' 'stop' 'remove' 'undo' 'more' */",
}
"""What runs when a piece is first shown, and the events it may send: gradio looks for their names in quotes."""
CHIPS: dict[str, Any] = {"elem_classes": ["chips", "dial"]}
SHORT_LABELS = {"fps": "FPS", "num_inference_steps": "Steps"}
"""Labels short enough for three in a row; the full ones are their tooltips and Advanced names."""


def page_of(context: Context) -> gr.Blocks:
    """The whole page; it holds no work of its own, so it may be closed and opened at any time."""
    with Turns(title="SVD UI", analytics_enabled=False, fill_width=True, delete_cache=(1800, 24 * 3600)) as demo:
        demo.lane = context.lane
        page = Page(lambda: context.remote)
        page.add("root", demo)
        page.works = _works(context) if context.jobs.inline else None
        tab = _layout(page, context)
        events.wire(page, context)
        directing.wire(page, context)
        job_events.wire(page, context)
        editing.wire(page, context)
        if tab is not None:
            train.wire(tab, page, context)
        declare(context)
    return demo  # type: ignore[no-any-return]


def _works(context: Context) -> Callable[[gr.Request], None]:
    """Makes what its visitor asked for, in the event that asked for it; a page that is opened again goes on with what waits."""

    def work(request: gr.Request) -> None:
        context.work(request)

    return work


def _layout(page: Page, context: Context) -> Page | None:
    """Fills ``page``; returns the Train tab's own, where there is one."""
    page.add("kept", gr.BrowserState(None, storage_key="svd-ui-form", secret=SECRET))
    page.add("stills", gr.BrowserState(NO_STILLS, storage_key="svd-ui-stills", secret=SECRET))
    page.add("watched", gr.BrowserState(None, storage_key="svd-ui-job", secret=SECRET))
    page.add("own", gr.BrowserState(None, storage_key="svd-ui-own", secret=SECRET))
    page.add("editing", gr.BrowserState(None, storage_key="svd-ui-editing", secret=SECRET))
    page.shapes |= {"stills": shaped, "own": both_sides}
    states: dict[str, Any] = {"limit": stage.PAGE, "seen": "", "preset_before": {}, "said_before": {}, "unsaid": ()}
    for name, value in {"undo": None, "change": None, **states}.items():
        page.add(name, gr.State(value))
    _piece(page, "pulse")
    page.add("timer", gr.Timer(context.following.usual, active=False))
    page.add("slow", gr.Timer(context.open_pages.usual))
    trains = may_train(context.settings)
    with gr.Row(elem_id="top"):
        gr.HTML(html("header"), js_on_load=None)
        tabs = train.tabs() if trains else None
        _piece(page, "status", status(()))
        if signs_in():
            gr.LoginButton(elem_id="sign-in", size="sm")
    with gr.Row(elem_id="main", equal_height=False):
        _piece(page, "jump", html("animate/jump"))
        with gr.Column(elem_id="left", scale=5, min_width=320):
            _still_card(page, context)
            _settings_card(page)
            _model_card(page, context)
            _run_bar(page)
        with gr.Column(elem_id="right", scale=6, min_width=320):
            with gr.Column(elem_id="viewer"):
                _piece(page, "stage", stage.stage(None, context.jobs.file))
                _piece(page, "sketch")
            page.notice("stage_notice", "stage-notice")
            _piece(page, "history")
            page.notice("history_notice", "history-notice")
    tab = train.layout(tabs, context) if tabs is not None else None
    _piece(page, "footer", footer(context, context.row("auto")), elem_id="foot")
    return tab


def _piece(page: Page, name: str, value: str = "", elem_id: str = "") -> None:
    """A part of the page that a view fills."""
    elem_id = elem_id or name.replace("_", "-")
    page.add(name, gr.HTML(value, elem_id=elem_id, js_on_load=SCRIPTS.get(name)))


def _field(page: Page, name: str, checked: bool = True, **extra: Any) -> None:
    """The control of a field of a request."""
    page.control(name, CLIP.control(name, **extra), checked)


def _fields(page: Page, *names: str, **extra: Any) -> None:
    """Several in a row."""
    with gr.Row(elem_classes=["dials-row"]):
        for name in names:
            _field(page, name, min_width=140, **extra)


def _choice(page: Page, name: str, choices: Any, label: str, *classes: str, **extra: Any) -> None:
    """A choice of what a visitor starts with or goes by."""
    page.control(
        name, gr.Radio(choices, value=EXTRAS[name], label=label, elem_id=name, elem_classes=list(classes), **extra)
    )


def _still_card(page: Page, context: Context) -> None:
    """What one sees to and then presses Animate; all of it in view beside the button."""
    with gr.Column(elem_id="still-card", elem_classes=["card"]):
        _choice(page, "source", [PICTURE, PROMPT], "Start from", "seg", show_label=False)
        page.notice("still_notice", "still-notice")
        with gr.Column(elem_id="still"):
            _piece(page, "door", door(context.settings.max_upload_mb))
            with page.add("prompt_side", gr.Column(visible=False, elem_id="prompt-side")):
                placeholder = "A lighthouse on a cliff at dusk, waves below, wide shot"
                _field(page, "prompt", lines=2, max_lines=6, placeholder=placeholder)
                page.add("make_still", gr.Button("Make picture", elem_id="make-still", size="md"))
                _piece(page, "still_offer")
            _piece(page, "finder")
            _piece(page, "tools", html("animate/tools"))
        _choice(page, "aspect", list(ASPECT_CHOICES), "Aspect", "seg", "wide")
        _movement(page)


def _movement(page: Page) -> None:
    """How the picture moves, directly under it: how much, and what directs it."""
    _field(page, "motion_bucket_id")
    with gr.Column(elem_id="direct"):
        said: dict[str, Any] = {"lines": 1, "max_lines": 1, "placeholder": spoken.PLACEHOLDER, "info": None}
        page.control(
            "say",
            gr.Textbox(EXTRAS["say"], label="Say what should move", elem_id="dial-say", elem_classes=["dial"], **said),
        )
        _piece(page, "spoken")
        _kinds(page, "method")
        page.notice("method_notice", "method-notice")


def _settings_card(page: Page) -> None:
    with gr.Column(elem_id="dials", elem_classes=["card"]):
        _field(page, "speed", info=None, elem_classes=["seg", "wide", "speed"])
        _choice(page, "preset", preset_choices(), "Preset", "chips")
        _piece(page, "preset_help")
        with gr.Row(elem_classes=["dials-row"]):
            for name in ("num_frames", "fps", "num_inference_steps"):
                _field(page, name, min_width=96, info=None, label=SHORT_LABELS.get(name, CLIP.label(name)))
        _piece(page, "blank_help", html("quiet", text=events.BLANK))
        with gr.Row(elem_classes=["dials-row", "seed-row"]):
            _field(page, "seed", min_width=96, scale=4, info=None, placeholder="random")
            page.add("shuffle", gr.Button("Shuffle", elem_id="shuffle", size="sm", min_width=76, scale=1))
            _several_seeds(page)
        _kinds(page, "post")
        _field(page, "output_format", **CHIPS)
        _advanced(page)


def _several_seeds(page: Page) -> None:
    shown: dict[str, Any] = {"elem_id": "dial-seeds", "elem_classes": ["dial"], "min_width": 96, "scale": 3}
    page.control("seeds", gr.Number(EXTRAS["seeds"], precision=0, label="Seeds at once", **shown))


def _model_card(page: Page, context: Context) -> None:
    """Last, because an offer to download appears in it: nothing that one looks at moves away from under it."""
    with gr.Column(elem_id="model"), gr.Column(elem_id="model-card", elem_classes=["card"]):
        _field(page, "checkpoint", choices=context.checkpoint_choices(), kind=gr.Radio, **CHIPS)
        _piece(page, "offer")
        _piece(page, "found")
        page.control("loras", gr.Textbox("", visible="hidden"), checked=False)
        _piece(page, "lora_list", elem_id="loras")


def _advanced(page: Page) -> None:
    """What few need, in groups that open one by one."""
    gr.HTML(html("animate/advanced"), js_on_load=None, elem_id="advanced")
    with _group("Size and crop"):
        _fields(page, "width", "height", info="Blank: from the aspect.")
        _fields(page, *FOCUS)
        _background(page)
    with _group("Quality and speed"):
        _field(page, "schedule", **CHIPS)
        _fields(page, "cache_interval", "decode_chunk_size")
        _field(page, "profile", **CHIPS)
    with _group("Guidance and noise"):
        _field(page, "noise_aug_strength", step=0.005)
        _fields(page, "min_guidance_scale", "max_guidance_scale")
        _fields(page, "guidance_sigma_min", "guidance_sigma_max")
        _field(page, "negative_prompt", checked=False, lines=1)
    with _group("File"):
        _fields(page, "output_fps", "render_height")


def _group(title: str) -> gr.Accordion:
    return gr.Accordion(title, open=False, elem_classes=["advanced"], elem_id=title.lower().replace(" ", "-"))


def _background(page: Page) -> None:
    shown: dict[str, Any] = {"label": "Background", "info": "Fills transparent areas.", "elem_id": "dial-background"}
    page.control("background", gr.ColorPicker(EXTRAS["background"], **shown))


def _kinds(page: Page, field: str) -> None:
    """The kinds of a field that holds methods or post steps, each with its parameters; nothing where there is no choice."""
    group = next(one for one in groups.groups() if isinstance(one, groups.Kinds) and one.field == field)
    if not group.open:
        return
    if group.several:
        gr.HTML(html("animate/several", title=CLIP.label(field), info=CLIP.info(field)), js_on_load=None)
        page.control(field, gr.Textbox("", visible="hidden"), checked=False)
    else:
        titles = [(cls.title(), kind) for kind, cls in group.classes.items()]
        texts: dict[str, Any] = {"label": CLIP.label(field), "info": CLIP.info(field)}
        page.control(field, gr.Radio(titles, value=group.first, elem_id=f"dial-{field}", **texts, **CHIPS))
    for kind, cls in group.classes.items():
        if group.several:
            switch: dict[str, Any] = {"label": cls.title(), "info": cls.summary(), "elem_id": f"dial-{field}-{kind}"}
            page.control(
                f"{field}.{kind}", gr.Checkbox(FRESH.get(f"{field}.{kind}", False), elem_classes=["dial"], **switch)
            )
        if group.names(kind):
            with page.add(f"{field}.{kind}.parameters", gr.Column(visible=False, elem_classes=["kind"])):
                for control, name in group.names(kind).items():
                    directing.control(page, control, group.of_kind[kind], name)


def _run_bar(page: Page) -> None:
    with gr.Column(elem_id="run-bar"):
        with gr.Column(elem_id="run-more"):
            page.notice("notice", "notice")
            _piece(page, "edit_line")
            _piece(page, "obstacle")
            with gr.Column(elem_id="wall-choice"):
                with gr.Row(elem_classes=["dials-row"]):
                    _wall_control(page, "seeds", gr.Number, precision=0)
                    _wall_control(page, "motion_bucket_ids", gr.Textbox, lines=1, max_length=60)
                _piece(page, "wall_cost")
        with gr.Row(elem_id="run-row"):
            page.add("animate", gr.Button("Animate", variant="primary", elem_id="animate", size="lg"))
            page.add("save_edit", gr.Button("Save changes", variant="primary", elem_id="save-edit", size="lg"))
            _piece(page, "edit_acts")
            page.add("draft_wall", gr.Button(CLIP.label("wall"), elem_id="draft-wall", size="lg"))
            _piece(page, "wall_toggle", wall_toggle(EXTRAS))
        _piece(page, "summary")


def _wall_control(page: Page, field: str, kind: type[gr.components.Component], **extra: Any) -> None:
    """A control of the wall, from the field it sets."""
    name = groups.WALL_CONTROLS[field]
    shown = {"value": EXTRAS[name], "elem_id": f"dial-{name}", "min_width": 96}
    page.control(name, groups.WALL.control(field, kind=kind, **shown, **extra))
