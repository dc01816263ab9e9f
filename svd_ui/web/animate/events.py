"""Handlers of the left side: opening the page, pictures, settings, and the short cuts that change them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from ...catalog.families import fields_with_words
from ...request import FOCUS
from ..context import Context
from ..formatting import html
from ..page import QUIET, Changes, Given, Page
from . import editing, spoken
from .actions import VIEW, Actions
from .device_line import status
from .form import FRESH, OWN, default_of, kept_values, looped, preset_values, shown_still, switched
from .form_view import form_view
from .groups import toggled, weighed
from .offers import own_values
from .prediction import Change, asked, change_of, estimated
from .sketches import sketched
from .stills import NO_STILLS, Stills, aimed, checked, example, repainted, sought

SHOWN_NOWHERE = {"say", "motion_bucket_id", "seed", "noise_aug_strength", "negative_prompt", "background"}
"""Controls whose change shows in nothing that ``form_view`` draws."""

BLANK = "Blank means the checkpoint’s own value, shown in grey."


def wire(page: Page, context: Context) -> None:
    """Attach every handler of the left side."""
    actions = Actions(context, page.form)
    page.help = lambda form: context.row(form["checkpoint"]).facts.help
    blank = {name: default_of(name) for name in page.form}
    follows = tuple({**form_view(context, blank, NO_STILLS), **_words(page, context, blank)})
    _opening(page, context, actions, follows)
    _pictures(page, context, actions)
    _settings(page, context, follows)
    _checkpoint(page, context)
    _remedies(page, context)
    _loras(page)
    _spoken(page)


def _opening(page: Page, context: Context, actions: Actions, follows: tuple[str, ...]) -> None:
    def first(given: Given) -> Changes:
        values = kept_values(page, given["kept"], context.rows())
        stills, row = checked(context.assets, given["stills"]), context.row(values["checkpoint"])
        own = own_values(values, row, shown_still(stills, values))
        own = own if own == given["own"] else None  # it comes from the browser
        asked_for = given.request.query_params.get("job")
        watched = asked_for or (given["watched"] if actions.job(given["watched"]) else None)
        return {
            **_together(values, _shown(page, context, values, stills, None, own)),
            **actions.view(watched, given.request),
            "preset_before": preset_values(values["preset"], row),
            **editing.resumed(actions, given["editing"]),
            "own": own,
            "stills": stills,
            "watched": watched,
            "status": status(context.devices()),
        }

    writes = (*page.form, *follows, *VIEW, *editing.SHOWN, "preset_before", "own", "stills", "watched", "status")
    page.on(
        [page["root"].load], first, ("kept", "stills", "own", "watched", "editing"), writes, then="() => svdui.opened()"
    )

    def now_and_then(given: Given) -> Changes:
        """A worker is ready, a download ends, memory is freed, a clip teaches its time: none is an event of the page."""
        shown = form_view(context, given.form, given["stills"], given["change"], given["own"])
        told = {
            "status": status(context.devices()),
            "slow": gr.Timer(context.open_pages.pace(given.request.session_hash or "")),
        }
        return {**{name: shown[name] for name in later}, **told}

    later = ("offer", "found", "still_offer", "make_still", "summary", "obstacle", "lora_list")
    page.on(page["slow"].tick, now_and_then, ("stills", "change", "own", *page.form), (*later, "status", "slow"))

    def release(given: Given) -> Changes:
        context.require_operator(given.request, "free memory")
        context.jobs.release()
        gr.Info("Memory is being freed.", duration=3)
        return {"status": status(context.devices())}

    page.on(page["status"].release, release, (), ("status",))


def _together(values: dict[str, Any], shown: Changes) -> Changes:
    """Values and updates of the same controls as one."""
    both = {name: {**shown[name], "value": value} for name, value in values.items() if name in shown}
    return {**values, **shown, **both}


def _shown(
    page: Page, context: Context, values: dict[str, Any], stills: Stills, *changes: Change | None
) -> dict[str, Any]:
    """What follows from the form, with its words."""
    shown, words = form_view(context, values, stills, *changes), _words(page, context, values)
    return {**shown, **words, **{name: {**shown[name], **words[name]} for name in shown.keys() & words.keys()}}


def _words(page: Page, context: Context, values: dict[str, Any]) -> Changes:
    """Labels and help as the checkpoint's family has them; of controls that have no room for help it stands below them."""
    facts = context.row(values["checkpoint"]).facts
    names = [name for name in page.form if name in fields_with_words()]
    roomy = {name for name in names if page[name].info is not None}
    below = [facts.help[name] for name in names if name in facts.help and name not in roomy]
    words = {name: {"label": facts.labels.get(name, page[name].label)} for name in names}
    for name in roomy:
        words[name]["info"] = page.usual_help(name, values)
    return {
        **{name: gr.update(**texts) for name, texts in words.items()},
        "blank_help": html("quiet", text=" ".join([BLANK, *below])),
    }


def _pictures(page: Page, context: Context, actions: Actions) -> None:
    def take(given: Given) -> Changes:
        left = [str(line)[:300] for line in given.event.several("left")][:3]
        return actions.entered(given.event.files(), given["stills"], given["background"], left)

    def seek(given: Given) -> Changes:
        stills = given["stills"]
        return {"stills": sought(context.assets, stills, given.event.whole("at"), given["background"])}

    def aim(given: Given) -> Changes:
        """What was typed before yields to the drag."""
        return {
            "stills": aimed(given["stills"], (given.event.number("x"), given.event.number("y"))),
            **dict.fromkeys(FOCUS),
        }

    def reframe(given: Given) -> Changes:
        return {"stills": aimed(given["stills"], None), **dict.fromkeys(FOCUS)}

    def choose(given: Given) -> Changes:
        return {"stills": {**given["stills"], "at": given.event.whole("at")}}

    def drop(given: Given) -> Changes:
        stills = given["stills"]
        items = [item for index, item in enumerate(stills["items"]) if index != given.event.whole("at")]
        return {"stills": {"items": items, "at": min(stills["at"], max(0, len(items) - 1))}}

    def use(given: Given) -> Changes:
        return {"stills": example(context.assets, given.event.text("name"))}

    def repaint(given: Given) -> Changes:
        return {"stills": repainted(context.assets, given["stills"], given["background"])}

    door, finder, stills = page["door"], page["finder"], ("stills",)
    framed = "() => svdui.focus('#finder .source')"
    said: dict[str, Any] = {"says": "still_notice"}
    page.on(door.take, take, ("stills", "background", "aspect"), ("stills", "notice", *page.form), keep=True, **said)
    page.on(door.example, use, (), ("stills", "notice"), **said)
    page.on(finder.aim, aim, stills, ("stills", *FOCUS), keep=True, trigger_mode="always_last")
    page.on(finder.reframe, reframe, stills, ("stills", *FOCUS), then=framed, keep=True)
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
        return _shown(page, context, dict(given.form), given["stills"], given["change"], given["own"])

    def sketch(given: Given) -> Changes:
        return {"sketch": sketched(context, given.form, given["stills"])}

    changes = [control.change for name, control in page.form.items() if name not in SHOWN_NOWHERE]
    reads, count = ("stills", "change", "own", *page.form), "() => svdui.count()"
    redraw = [*changes, page["stills"].change, page["own"].change]
    gr.on(redraw, None, None, None, js="() => svdui.pulse()", **QUIET)  # many controls may change at once
    page.on(page["pulse"].beat, refresh, reads, follows, then=count, trigger_mode="always_last")
    page.on(page["pulse"].beat, sketch, ("stills", *page.form), ("sketch",), trigger_mode="always_last")
    gr.on([control.input for control in page.form.values()], **page.keeping())

    def preset(given: Given) -> Changes:
        after = preset_values(given["preset"], context.row(given["checkpoint"]))
        return {**switched(given["preset_before"], after, given.form), "preset_before": after}

    def method(given: Given) -> Changes:
        return looped(given["method"], given.form)

    page.on(page["method"].input, method, page.form, tuple(FRESH), keep=True)
    reads = writes = ("preset_before", *page.form)
    page.on(page["preset"].input, preset, reads, writes, keep=True, trigger_mode="always_last")
    page.by_script(page["shuffle"].click, "() => Math.floor(Math.random() * 4294967296)", "seed")


def _checkpoint(page: Page, context: Context) -> None:
    def chosen(given: Given) -> Changes:
        return settled(dict(given.form), given)

    def take(given: Given) -> Changes:
        """What fits this machine, in place of what does not."""
        id = given.event.text("id")
        if id not in context.rows():
            return {}
        return {"checkpoint": id, **settled({**given.form, "checkpoint": id}, given)}

    def settled(values: dict[str, Any], given: Given) -> Changes:
        """The preset as it is meant for the new checkpoint; other values stay, and are offered to be left to it."""
        row = context.row(values["checkpoint"])
        before, after = given["preset_before"], preset_values(values["preset"], row)
        changes = switched(before, after, values) if values["preset"] != OWN else {}
        own = own_values({**values, **changes}, row, shown_still(given["stills"], values))
        return {**changes, "preset_before": after, "own": own}

    offer, writes = page["offer"], ("preset_before", "own", *page.form)
    reads = ("preset_before", "stills", *page.form)
    page.on(page["checkpoint"].input, chosen, reads, writes, keep=True, trigger_mode="always_last")
    focus = "() => svdui.focus('#dial-checkpoint input:checked')"
    page.on(offer.take, take, reads, writes, then=focus, keep=True)
    for event, side, after in (
        (offer.own, "after", "#offer [data-act=unown]"),
        (offer.unown, "before", "#offer [data-act=own]"),
    ):
        page.on(event, _side(side), ("own",), page.form, then=f"() => svdui.focus('{after}')", keep=True)


def _side(side: str) -> Callable[[Given], Changes]:
    """Sets the form as it was before a change, or as it is after it."""
    return lambda given: dict((given["own"] or {})[side]) if given["own"] else {}


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
        return {"loras": toggled(given["loras"], given.event.text("name"))}

    def weigh(given: Given) -> Changes:
        return {"loras": weighed(given["loras"], given.event.text("name"), given.event.number("weight"))}

    page.on(page["lora_list"].choose, choose, ("loras",), ("loras",), keep=True)
    page.on(page["lora_list"].weigh, weigh, ("loras",), ("loras",), keep=True, trigger_mode="always_last")


def _spoken(page: Page) -> None:
    def say(given: Given) -> Changes:
        return heard(given, ())

    def unsay(given: Given) -> Changes:
        return heard(given, (*given["unsaid"], given.event.whole("at")))

    def heard(given: Given, unsaid: tuple[int, ...]) -> Changes:
        recipe = spoken.understood(str(given["say"] or ""), unsaid)
        after = spoken.values_of(recipe)
        changes = spoken.changes(given["said_before"], after, given.form)
        return {**changes, "spoken": spoken.chips(recipe), "said_before": after, "unsaid": unsaid}

    reads, writes = ("said_before", "unsaid", *page.form), ("spoken", "said_before", "unsaid", "notice", *page.form)
    said: dict[str, Any] = {"keep": True, "says": "method_notice"}
    page.on(page["say"].submit, say, reads, writes, **said)
    page.on(
        page["spoken"].unsay, unsay, reads, writes, then="() => svdui.focus('#dial-say :is(input, textarea)')", **said
    )
