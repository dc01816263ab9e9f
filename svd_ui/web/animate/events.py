"""Handlers of the left side: opening the page, pictures, settings, and the short cuts that change them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..context import Context
from ..formatting import html
from ..page import Changes, Given, Page
from .actions import Actions
from .form import default_of, describe_preset, kept_values, shown_still, switched
from .form_view import form_view, status
from .groups import toggled, weighed
from .prediction import asked, change_of, estimated
from .stills import NO_STILLS, checked, example, repainted, sought

VIEW = ("stage", "history", "timer", "seen")
"""What ``Actions.view`` changes."""
SHOWN_NOWHERE = {"preset", "motion_bucket_id", "seed", "noise_aug_strength", "negative_prompt", "background"}
"""Controls whose change shows in nothing that ``form_view`` draws."""


def wire(page: Page, context: Context) -> None:
    """Attach every handler of the left side."""
    actions = Actions(context, page.form)
    follows = tuple(form_view(context, {name: default_of(name) for name in page.form}, NO_STILLS))
    _opening(page, context, actions, follows)
    _pictures(page, context, actions)
    _settings(page, context, follows)
    _remedies(page, context)
    _loras(page)


def _opening(page: Page, context: Context, actions: Actions, follows: tuple[str, ...]) -> None:
    def first(given: Given) -> Changes:
        values = kept_values(page, given["kept"], context.rows())
        stills = checked(context.assets, given["stills"])
        asked_for = given.request.query_params.get("job")
        watched = asked_for or (given["watched"] if actions.job(given["watched"]) else None)
        return {
            **_together(values, form_view(context, values, stills)),
            **actions.view(watched, given.request),
            "preset_before": values["preset"],
            "stills": stills,
            "watched": watched,
            "status": status(context.device()),
        }

    writes = (*page.form, *follows, *VIEW, "preset_before", "stills", "watched", "status")
    page.on([page["root"].load], first, ("kept", "stills", "watched"), writes, then="() => svdui.opened()")

    def now_and_then(given: Given) -> Changes:
        """A worker is ready, a download ends, memory is freed, a clip teaches its time: none is an event of the page."""
        shown = form_view(context, given.form, given["stills"], given["change"])
        return {**{name: shown[name] for name in later}, "status": status(context.device())}

    later = ("offer", "found", "still_offer", "make_still", "summary", "obstacle", "lora_list")
    page.on(page["slow"].tick, now_and_then, ("stills", "change", *page.form), (*later, "status"))

    def release(given: Given) -> Changes:
        context.jobs.release()
        gr.Info("Memory is being freed.", duration=3)
        return {"status": status(context.device())}

    page.on(page["status"].release, release, (), ("status",))


def _together(values: dict[str, Any], shown: Changes) -> Changes:
    """Values and updates of the same controls as one."""
    both = {name: {**shown[name], "value": value} for name, value in values.items() if name in shown}
    return {**values, **shown, **both}


def _pictures(page: Page, context: Context, actions: Actions) -> None:
    def take(given: Given) -> Changes:
        left = [str(line)[:300] for line in getattr(given.event, "left", None) or []][:3]
        return actions.entered(
            list(given.event.files or []), given["stills"], given["background"], given["aspect"], left
        )

    def seek(given: Given) -> Changes:
        stills = given["stills"]
        return {"stills": sought(context.assets, stills, int(given.event.at), given["background"])}

    def aim(given: Given) -> Changes:
        at = {"focus_x": given.event.x, "focus_y": given.event.y}
        return {name: min(1.0, max(0.0, float(value))) for name, value in at.items()}

    def choose(given: Given) -> Changes:
        return {"stills": {**given["stills"], "at": int(given.event.at)}}

    def drop(given: Given) -> Changes:
        stills = given["stills"]
        items = [item for index, item in enumerate(stills["items"]) if index != int(given.event.at)]
        return {"stills": {"items": items, "at": min(stills["at"], max(0, len(items) - 1))}}

    def use(given: Given) -> Changes:
        return {"stills": example(context.assets, str(given.event.name))}

    def repaint(given: Given) -> Changes:
        return {"stills": repainted(context.assets, given["stills"], given["background"])}

    door, finder, stills = page["door"], page["finder"], ("stills",)
    said: dict[str, Any] = {"says": "still_notice"}
    page.on(door.take, take, ("stills", "background", "aspect"), ("stills", "notice", *page.form), keep=True, **said)
    page.on(door.example, use, (), ("stills", "notice"), **said)
    page.on(finder.aim, aim, (), ("focus_x", "focus_y"), keep=True, trigger_mode="always_last")
    after = "() => svdui.focus('#finder .scrub input')"
    page.on(
        finder.seek,
        seek,
        ("stills", "background"),
        ("stills", "notice"),
        then=after,
        trigger_mode="always_last",
        **said,
    )
    page.on(finder.choose, choose, stills, stills)
    page.on(finder.drop, drop, stills, ("stills", "notice"), **said)
    page.on(finder.clear, lambda given: {"stills": NO_STILLS}, (), ("stills", "notice"), **said)
    page.on(page["background"].change, repaint, ("stills", "background"), stills)


def _settings(page: Page, context: Context, follows: tuple[str, ...]) -> None:
    def refresh(given: Given) -> Changes:
        return form_view(context, given.form, given["stills"], given["change"])

    changes = [control.change for name, control in page.form.items() if name not in SHOWN_NOWHERE]
    reads, count = ("stills", "change", *page.form), "() => svdui.count()"
    page.on([*changes, page["stills"].change], refresh, reads, follows, then=count, trigger_mode="always_last")
    gr.on([control.input for control in page.form.values()], **page.keeping())

    def preset(given: Given) -> Changes:
        new = given["preset"]
        changes = switched(given["preset_before"], new, given.form)
        return {**changes, "preset_before": new}

    def described(given: Given) -> Changes:
        """However it came to be chosen: settings that are restored, or kept by the browser, change it too."""
        return {"preset_help": html("quiet", text=describe_preset(given["preset"]))}

    reads, writes = ("preset_before", *page.form), ("preset_before", *page.form)
    page.on(page["preset"].input, preset, reads, writes, keep=True, trigger_mode="always_last")
    page.on(page["preset"].change, described, ("preset",), ("preset_help",), trigger_mode="always_last")
    page.by_script(page["shuffle"].click, "() => Math.floor(Math.random() * 4294967296)", "seed")


def _remedies(page: Page, context: Context) -> None:
    def remedy(given: Given) -> Changes:
        """What to change is asked again here: the page may be older than the form."""
        values, stills = given.form, given["stills"]
        request = asked(values, context.row(values["checkpoint"]), shown_still(stills, values))
        change = change_of(estimated(context, request), values)
        if change is None:
            return {}
        shown = form_view(context, {**values, **change["after"]}, stills, change)
        return {**change["after"], "change": change, "obstacle": shown["obstacle"]}

    def back(given: Given) -> Changes:
        change = given["change"]
        return {**(change["before"] if change else {}), "change": None}

    after = "() => svdui.focus('#obstacle [data-act=unremedy]')"
    reads, writes = ("stills", *page.form), ("change", "obstacle", *page.form)
    page.on(page["obstacle"].remedy, remedy, reads, writes, then=after, keep=True)
    after = "() => svdui.focus('#animate')"
    page.on(page["obstacle"].unremedy, back, ("change",), ("change", *page.form), then=after, keep=True)


def _loras(page: Page) -> None:
    def choose(given: Given) -> Changes:
        return {"loras": toggled(given["loras"], str(given.event.name))}

    def weigh(given: Given) -> Changes:
        return {"loras": weighed(given["loras"], str(given.event.name), float(given.event.weight))}

    page.on(page["lora_list"].choose, choose, ("loras",), ("loras",), keep=True)
    page.on(page["lora_list"].weigh, weigh, ("loras",), ("loras",), keep=True, trigger_mode="always_last")
