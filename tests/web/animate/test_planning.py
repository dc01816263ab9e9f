"""What the page makes of a method's fields without a browser: editors, sketches, words, and what comes after a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from svd_ui.errors import BadPicture
from svd_ui.jobs.service import JobService
from svd_ui.methods import METHODS
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from svd_ui.web.animate import directing, further, sketches, spoken
from svd_ui.web.animate.form import default_of
from svd_ui.web.animate.stills import NO_STILLS
from svd_ui.web.context import Context
from tests.fakes import FakeEngine
from tests.web.animate.test_form import REF, ROW, values

CAMERA = next(name for name, info in METHODS.classes()["camera"].model_fields.items() if directing.widget_of(info))
PATH = f"method.camera.{CAMERA}"


def test_every_hint_has_an_editor_and_each_editor_is_asked_for() -> None:
    asked = {
        (info.json_schema_extra or {}).get("widget")  # type: ignore[union-attr]
        for cls in METHODS.classes().values()
        for info in cls.model_fields.values()
        if isinstance(info.json_schema_extra, dict) and cls.__module__.startswith("svd_ui.")
    }
    assert asked - {"slider", None} == directing.EDITORS.keys()


def test_a_path_that_cannot_be_read_says_so_beside_its_text() -> None:
    said = directing.troubles(values(**{PATH: "sideways"}))
    assert said[PATH]["info"].startswith("The camera knows no 'sideways'")
    assert "invalid" in said[PATH]["elem_classes"] and "invalid" not in said["method.loop.camera"]["elem_classes"]


def test_pictures_between_are_added_in_their_order_and_few() -> None:
    refs = ["sha256:" + digit * 64 for digit in "abc"]
    one = directing.with_picture("", refs[0], 0)
    two = directing.with_picture(one, refs[1], 1)
    assert (one, two) == (f"0.5={refs[0]}", f"0.5={refs[0]}; 0.75={refs[1]}")
    assert directing.with_picture(two, refs[2], 0) == f"0.5={refs[2]}; 0.75={refs[1]}"
    with pytest.raises(BadPicture):
        directing.with_picture(two, refs[2], 2)


def test_a_camera_is_sketched_and_a_plain_clip_is_not(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with JobService(settings, FakeEngine()) as jobs:
        context = Context(jobs, settings)
        ref = context.assets.keep(Image.linear_gradient("L").resize((640, 360)).convert("RGB"))
        stills: Any = {"items": [{"ref": ref, "width": 640, "height": 360, "notes": []}], "at": 0}
        chosen = values(method="camera", checkpoint="nano", **{PATH: "pan left"})
        shown = sketches.sketched(context, chosen, stills)
        name = shown.split(sketches.URL)[1].split('"')[0]
        assert (sketches.SKETCHES.get(name) or b"").startswith(b"\xff\xd8")
        assert "Sketch, not the clip" in shown
        assert sketches.sketched(context, {**chosen, "method": "plain"}, stills) == ""
        assert sketches.sketched(context, chosen, NO_STILLS) == ""
        gone = {**chosen, "method": "lock", "method.lock.mask": REF}
        if sketches.plans(METHODS.classes()["lock"]()):
            assert "sketch-said" in sketches.sketched(context, gone, stills)


def test_only_the_last_sketches_are_kept() -> None:
    kept = sketches.Sketches()
    names = [kept.keep(bytes([index])) for index in range(sketches.KEPT + 1)]
    assert kept.get(names[0]) is None and kept.get(names[-1]) == bytes([sketches.KEPT])


@dataclass(frozen=True)
class Heard:
    """As what understands words gives it."""

    values: dict[str, Any]
    chips: Sequence[Any] = ()
    unknown: Sequence[Any] = field(default_factory=list)


def test_words_set_what_was_said_and_take_back_what_is_not_any_more() -> None:
    first = spoken.values_of(Heard({"method": {"kind": "brush", "effect": "water"}, "motion_bucket_id": 60}))  # type: ignore[arg-type]
    assert first == {"method": "brush", "method.brush.effect": "water", "motion_bucket_id": 60}
    form = {**{name: default_of(name) for name in first}, "method.brush.strokes": "0.1,0.1"}
    after = {**form, **spoken.changes({}, first, form)}
    assert after["method.brush.strokes"] == "0.1,0.1"  # what was painted stays
    second = spoken.values_of(Heard({"method": {"kind": "camera"}}))  # type: ignore[arg-type]
    back = spoken.changes(first, second, {**after, "motion_bucket_id": 61})
    assert back == {"method": "camera", "method.brush.effect": "free", "post.boomerang": False}  # 61 was set by hand
    assert default_of("method.brush.effect") == "free"


def test_a_clip_may_become_longer_with_its_camera() -> None:
    camera = METHODS.classes()["camera"](**{CAMERA: "pan left"})
    request = GenerationRequest(image=REF, checkpoint=ROW.id, method=camera)
    long = further.longer(request, ROW)
    assert long.camera == "pan left" and long.seconds == round(further.seconds(request, ROW) + further.MORE)  # type: ignore[attr-defined]
    again = further.longer(request.model_copy(update={"method": long}), ROW)
    assert again.seconds == long.seconds + further.MORE  # type: ignore[attr-defined]
    assert [kind for kind, _ in further.offered("loop")] == ["extend"]
