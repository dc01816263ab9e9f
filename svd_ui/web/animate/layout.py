"""The layout: which piece stands where. What the pieces do is in ``wiring.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from ...jobs import Jobs
from ...presets import presets
from ...settings import Settings
from .. import controls
from ..api import declare
from ..context import Context
from ..controls import dial
from ..train import allowed as training_allowed
from ..train import layout as training_page
from ..train.actions import Actions as TrainingActions
from . import events, footer, history, loras, offer, prediction, stills, wall
from . import stage as stages
from .form import EXTRAS, MAX_SEEDS, OWN, PICTURE, PROMPT, Form, preset_choices
from .form_view import checkpoint_choices

HIDDEN = "hidden"
SECRET = "svd-ui"  # fixed, so that a restart of the app does not lose what the browser kept
STATUS_JS = "svdui.mount('status', element, trigger, watch)  /* 'release' */"


@dataclass
class Page:
    """The pieces that handlers read and write."""

    root: gr.Blocks
    form: Form
    kept: gr.BrowserState
    stills: gr.BrowserState
    watched: gr.BrowserState
    timer: gr.Timer
    slow: gr.Timer
    status: gr.HTML
    door: gr.HTML
    prompt_side: gr.Column
    make: gr.Button
    still_offer: gr.HTML
    finder: gr.HTML
    preset_help: gr.HTML
    shuffle: gr.Button
    offer: gr.HTML
    loras: gr.HTML
    obstacle: gr.HTML
    animate: gr.Button
    draft_wall: gr.Button
    wall_toggle: gr.HTML
    wall_cost: gr.HTML
    summary: gr.HTML
    notice: gr.HTML
    stage: gr.HTML
    history: gr.HTML
    footer: gr.HTML
    train: training_page.Tab | None


def build_ui(jobs: Jobs, settings: Settings) -> gr.Blocks:
    """The whole page over ``jobs``; it holds no work of its own, so it may be closed and opened at any time."""
    context = Context(jobs, settings)
    with gr.Blocks(title="SVD UI", analytics_enabled=False, fill_width=True, delete_cache=(1800, 24 * 3600)) as demo:
        page = _layout(demo, context)
        events.wire(page, context)
        declare(context)
    return demo  # type: ignore[no-any-return]


def _layout(root: gr.Blocks, context: Context) -> Page:
    form = Form()
    states: dict[str, Any] = {
        "kept": gr.BrowserState(None, storage_key="svd-ui-form", secret=SECRET),
        "stills": gr.BrowserState(stills.NO_STILLS, storage_key="svd-ui-stills", secret=SECRET),
        "watched": gr.BrowserState(None, storage_key="svd-ui-job", secret=SECRET),
    }
    timers: dict[str, Any] = {"timer": gr.Timer(0.5, active=False), "slow": gr.Timer(8.0)}
    trains = training_allowed(context.settings)
    with gr.Row(elem_id="top"):
        gr.HTML(footer.header(), js_on_load=None)
        switch = training_page.tabs() if trains else None
        status = gr.HTML(footer.status(None), elem_id="status", js_on_load=STATUS_JS)
    with gr.Row(elem_id="main", equal_height=False):
        with gr.Column(elem_id="left", scale=5, min_width=320):
            left: dict[str, Any] = {**_still_card(context, form), **_dials_card(context, form), **_run_bar(form)}
        with gr.Column(elem_id="right", scale=6, min_width=320):
            stage = gr.HTML(stages.render(None, context.jobs.file), elem_id="stage", js_on_load=_js(stages))
            grid = gr.HTML("", elem_id="history", js_on_load=_js(history))
    train = training_page.layout(switch, TrainingActions(context), SECRET) if switch is not None else None
    row = context.row("auto")
    foot = gr.HTML(
        footer.footer(context.rows().values(), row, context.settings.text_to_image), elem_id="foot", js_on_load=None
    )
    rest: dict[str, Any] = {"status": status, "stage": stage, "history": grid, "footer": foot, "train": train}
    return Page(root=root, form=form, **states, **timers, **left, **rest)


def _js(module: object) -> str:
    """The events a piece may send must stand in its script as quoted names."""
    names = " ".join(f"'{name}'" for name in getattr(module, "EVENTS", ()))
    return f"{module.EVENTS_JS}  /* {names} */"  # type: ignore[attr-defined]


def _still_card(context: Context, form: Form) -> dict[str, Any]:
    with gr.Column(elem_id="still-card"):
        form.add(
            "source",
            gr.Radio(
                [PICTURE, PROMPT],
                value=PICTURE,
                label="Start from",
                show_label=False,
                elem_classes=["seg"],
                elem_id="source",
            ),
        )
        door = gr.HTML(stills.door(context.settings.max_upload_mb), elem_id="door", js_on_load=stills.DOOR_JS)
        with gr.Column(visible=False, elem_id="prompt-side") as prompt_side:
            form.add(
                "prompt",
                dial(
                    "prompt",
                    value="",
                    lines=3,
                    max_lines=6,
                    placeholder="A lighthouse on a cliff at dusk, waves below, wide shot",
                ),
            )
            make = gr.Button("Make still", elem_id="make-still", size="md")
            still_offer = gr.HTML("", elem_id="still-offer", js_on_load=offer.EVENTS_JS)
        finder = gr.HTML("", elem_id="finder", js_on_load=stills.FINDER_JS)
        form.add(
            "aspect",
            gr.Radio(
                list(stills.ASPECT_CHOICES),
                value="16:9",
                label="Aspect",
                elem_classes=["seg", "wide"],
                elem_id="aspect",
            ),
        )
    return {"door": door, "prompt_side": prompt_side, "make": make, "still_offer": still_offer, "finder": finder}


def _dials_card(context: Context, form: Form) -> dict[str, Any]:
    with gr.Column(elem_id="dials"):
        form.add(
            "preset",
            gr.Radio(preset_choices(), value=OWN, label="Preset", elem_classes=["chips"], elem_id="preset"),
        )
        preset_help = gr.HTML("", elem_id="preset-help", js_on_load=None)
        form.add("motion_bucket_id", dial("motion_bucket_id"))
        with gr.Row(elem_classes=["dials-row"]):
            for name in ("num_frames", "fps", "num_inference_steps"):
                form.add(name, dial(name, min_width=96, info=None, label=SHORT_LABELS.get(name, controls.label(name))))
        gr.HTML('<p class="quiet">Blank means the checkpoint’s own value, shown in grey.</p>', js_on_load=None)
        with gr.Row(elem_classes=["dials-row", "seed-row"]):
            form.add("seed", dial("seed", min_width=130, scale=4, placeholder="random"))
            shuffle = gr.Button("Shuffle", elem_id="shuffle", size="sm", min_width=88, scale=1)
        form.add(
            "checkpoint",
            dial("checkpoint", choices=checkpoint_choices(context), kind=gr.Radio, elem_classes=["chips", "dial"]),
        )
        where = gr.HTML("", elem_id="offer", js_on_load=offer.EVENTS_JS)
        form.add("loras", gr.Textbox("", visible="hidden"))
        lora_list = gr.HTML("", elem_id="loras", js_on_load=loras.EVENTS_JS)
        _advanced(form)
    return {"preset_help": preset_help, "shuffle": shuffle, "offer": where, "loras": lora_list}


SHORT_LABELS = {"fps": "FPS", "num_inference_steps": "Steps"}
"""Labels short enough for three in a row; the full ones are their tooltips and Advanced names."""


def _advanced(form: Form) -> None:
    with gr.Accordion("Advanced", open=False, elem_classes=["advanced"], elem_id="advanced"):
        form.add("noise_aug_strength", dial("noise_aug_strength", step=0.005))
        with gr.Row(elem_classes=["dials-row"]):
            for name in ("min_guidance_scale", "max_guidance_scale"):
                form.add(name, dial(name, min_width=140))
        with gr.Row(elem_classes=["dials-row"]):
            for name in ("output_fps", "decode_chunk_size"):
                form.add(name, dial(name, min_width=140))
        with gr.Row(elem_classes=["dials-row"]):
            for name in ("width", "height"):
                form.add(name, dial(name, min_width=140, info="Blank: from the aspect."))
        for name in ("focus_x", "focus_y"):
            form.add(name, dial(name))
        form.add("schedule", dial("schedule", elem_classes=["chips", "dial"]))
        with gr.Row(elem_classes=["dials-row"]):
            form.add("cache_interval", dial("cache_interval", min_width=140))
        with gr.Row(elem_classes=["dials-row"]):
            for name in ("guidance_sigma_min", "guidance_sigma_max"):
                form.add(name, dial(name, min_width=140))
        form.add("negative_prompt", dial("negative_prompt", value="", lines=1))
        with gr.Row(elem_classes=["dials-row"]):
            form.add(
                "seeds",
                gr.Number(
                    1,
                    precision=0,
                    label="Seeds at once",
                    info=f"Clips per picture, 1 to {MAX_SEEDS}.",
                    min_width=140,
                    elem_id="dial-seeds",
                    elem_classes=["dial"],
                ),
            )
            form.add(
                "background",
                gr.ColorPicker(
                    EXTRAS["background"],
                    label="Background",
                    info="Fills transparent parts.",
                    min_width=140,
                    elem_id="dial-background",
                ),
            )
        form.add("output_format", dial("output_format", elem_classes=["chips", "dial"]))
        form.add("profile", dial("profile", elem_classes=["chips", "dial"]))


def _run_bar(form: Form) -> dict[str, Any]:
    with gr.Column(elem_id="run-bar"):
        notice = gr.HTML("", elem_id="notice", js_on_load=None)
        obstacle = gr.HTML("", elem_id="obstacle", js_on_load=prediction.EVENTS_JS)
        with gr.Column(elem_id="wall-choice"):
            with gr.Row(elem_classes=["dials-row"]):
                form.add("wall_seeds", _wall_dial(gr.Number, "seeds", precision=0))
                form.add("wall_motions", _wall_dial(gr.Textbox, "motion_bucket_ids", lines=1, max_length=60))
            wall_cost = gr.HTML("", elem_id="wall-cost", js_on_load=None)
        form.add("speed", dial("speed", show_label=False, info=None, elem_classes=["seg", "wide", "speed"]))
        with gr.Row(elem_id="run-row"):
            animate = gr.Button("Animate", variant="primary", elem_id="animate", size="lg")
            draft_wall = gr.Button(wall.TITLE, elem_id="draft-wall", size="lg")
            wall_toggle = gr.HTML(wall.toggle(EXTRAS), elem_id="wall-toggle", js_on_load=wall.TOGGLE_JS)
        summary = gr.HTML("", elem_id="summary", js_on_load=None)
    run = {"animate": animate, "draft_wall": draft_wall, "wall_toggle": wall_toggle, "wall_cost": wall_cost}
    return {"notice": notice, "obstacle": obstacle, **run, "summary": summary}


def _wall_dial(kind: type[gr.components.Component], field: str, **extra: Any) -> gr.components.Component:
    """A control of the wall, from the field it sets."""
    shown, name = wall.FIELDS[field], wall.CONTROLS[field]
    texts: dict[str, Any] = {"label": shown.title, "info": shown.description}
    return kind(EXTRAS[name], **texts, elem_id=f"dial-{name}", elem_classes=["dial"], min_width=96, **extra)


def describe_preset(id: str) -> str:
    """The line under the presets."""
    from html import escape

    preset = presets().get(id)
    return f'<p class="quiet">{escape(preset.description)}</p>' if preset else ""
