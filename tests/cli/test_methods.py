"""Control methods on the command line: short flags, pictures as files, and what is said where something is wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import typer.main
from PIL import Image

from svd_ui.assets import Assets
from svd_ui.cli import app
from svd_ui.cli.fields import today, values
from svd_ui.errors import BadInput
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from svd_ui.settings_tag import open_settings
from svd_ui.validation import validate
from tests.cli.conftest import Run
from tests.fakes import picture


@pytest.fixture
def second(tmp_path: Path) -> Path:
    path = tmp_path / "b.jpg"
    picture(0.8).save(path)
    return path


def method(run: Run, *flags: object) -> dict[str, Any]:
    """The kind and what is not at its default of the method inside the clip that these flags make."""
    result = run("generate", "photo.jpg", "-o", "clip.mp4", "--seed", 1, "--num-inference-steps", 1, *flags)
    assert result.exit_code == 0, result.output
    return inside("clip.mp4")


def asked(*flags: object) -> dict[str, Any]:
    """The same of the request that these flags ask for."""
    context = command().make_context("generate", list(map(str, flags)))
    given = {name: value for name, value in context.params.items() if name.partition("__")[0] == "method"}
    return shown(validate(values(today(GenerationRequest, given)[0])))


def command() -> Any:
    return typer.main.get_command(app).commands["generate"]  # type: ignore[attr-defined]


def shown(request: GenerationRequest) -> dict[str, Any]:
    return {**request.method.model_dump(exclude_defaults=True), "kind": request.method.kind}


def inside(clip: str) -> dict[str, Any]:
    return shown(open_settings(Path(clip)).request)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--camera", "zoom=1.2,pan=-0.1"), {"kind": "camera", "camera": "zoom=1.2,pan=-0.1"}),
        (("--camera", "pan left*0.5"), {"kind": "camera", "camera": "pan left*0.5"}),
        (("--camera", "0.5:zoom=1.2; 1:zoom=1"), {"kind": "camera", "camera": "0.5:zoom=1.2; 1:zoom=1"}),
        (("--camera", "camera=pan left,parallax=0.2"), {"kind": "camera", "camera": "pan left", "parallax": 0.2}),
        (("--camera", "pan left", "--camera.parallax", 0), {"kind": "camera", "camera": "pan left", "parallax": 0}),
        (("--drag", "0.2,0.3>0.4,0.3"), {"kind": "drag", "arrows": "0.2,0.3>0.4,0.3"}),
        (("--brush", "effect=water"), {"kind": "brush", "effect": "water"}),
        (("--loop",), {"kind": "loop"}),
        (("--loop.camera", "orbit"), {"kind": "loop", "camera": "orbit"}),
        (("--loop", "--loop.camera", "orbit"), {"kind": "loop", "camera": "orbit"}),
        (("--extend", "8s"), {"kind": "extend"}),
        (("--extend", "12 seconds"), {"kind": "extend", "seconds": 12}),
        (("--extend", "12.5"), {"kind": "extend", "seconds": 12.5}),
        (("--extend.seconds", "9s", "--no-extend.colour-lock"), {"kind": "extend", "seconds": 9, "colour_lock": False}),
        (("--extend", "seconds=9s,camera=orbit"), {"kind": "extend", "seconds": 9, "camera": "orbit"}),
        (("--motion-strength", "strength=0.8"), {"kind": "motion_strength", "strength": 0.8}),
        (("--method", '{"kind": "loop", "camera": "orbit"}'), {"kind": "loop", "camera": "orbit"}),
    ],
)
def test_a_flag_of_a_methods_name_sets_what_it_is_about(flags: tuple[object, ...], expected: dict[str, Any]) -> None:
    assert asked(*flags) == expected


def test_files_of_a_method_become_pictures_of_the_data_folder(
    run: Run, photo: Path, second: Path, settings: Settings
) -> None:
    ref = Assets.of(settings).keep(Image.open(second))
    assert method(run, "--lock", second)["mask"] == ref
    assert method(run, "--brush", f"mask={second},effect=water") == {"kind": "brush", "mask": ref, "effect": "water"}
    made = method(run, "--end-frame", second, "--end-frame.keys", f"0.4={second}; 0.7={ref}")
    assert made == {"kind": "end_frame", "image": ref, "keys": f"0.4={ref}; 0.7={ref}"}
    assert method(run, "--method", f'{{"kind": "end_frame", "image": "{second}"}}')["image"] == ref


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--end-frame", "none.jpg"), "--end-frame: none.jpg is not there"),
        (("--end-frame", "."), "--end-frame: . is a folder"),
        (("--camera.depth", "text.jpg"), "--camera.depth: "),
        (("--end-frame.keys", "0.4=none.jpg"), "--end-frame.keys: none.jpg is not there"),
        (("--end-frame.keys", "none.jpg"), "A picture between is share=picture"),
        (("--end-frame", f"sha256:{'0' * 64}"), "End frame: that picture is not in this data folder. Give it again with --end-frame."),
        (("--camera", "zoom=9"), "Zoom is a number from 0.5 to 4"),
        (("--camera", "sideways"), "The camera knows no 'sideways'"),
        (("--extend", "long"), "Seconds must be a number from 1"),
        (("--extend", "90s"), "Seconds must be a number from 1"),
        (("--motion-strength", "0.8"), "--motion-strength takes name=value pairs"),
        (("--camera", "orbit", "--loop"), "A clip has one method: camera and loop were asked for."),
        (("--method", "plain", "--extend", "8s"), "A clip has one method: plain and extend"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_by_its_flag(run: Run, photo: Path, flags: tuple[str, ...], said: str) -> None:
    Path("text.jpg").write_text("not a picture", "utf-8")
    result = run("generate", photo, "-o", "clip.mp4", *flags)
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.stderr.split())


def test_a_clip_brings_its_method_back_with_its_pictures(run: Run, photo: Path, second: Path) -> None:
    first = method(run, "--camera", "pan left", "--camera.depth", second, "--camera.parallax", 0.9)
    assert run("generate", "--from", "clip.mp4", "-o", "again.mp4").exit_code == 0
    assert inside("again.mp4") == first
    assert run("generate", "--from", "clip.mp4", "--camera", "push in*2", "-o", "other.mp4").exit_code == 0
    assert inside("other.mp4") == {**first, "camera": "push in*2"}, "a flag sets its parameter alone"
    assert run("generate", "--from", "clip.mp4", "--loop", "-o", "loop.mp4").exit_code == 0
    assert inside("loop.mp4") == {"kind": "loop"}, "another method takes the place of all of it"


def test_a_second_picture_of_another_machine_is_asked_for(
    run: Run, photo: Path, second: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    method(run, "--end-frame", second)
    monkeypatch.setenv("SVD_UI_DATA_DIR", str(tmp_path / "elsewhere"))
    refused = run("generate", photo, "--from", "clip.mp4", "-o", "no.mp4")
    assert refused.exit_code == 2
    assert "End frame: that picture is not in this data folder. Give it again with --end-frame." in " ".join(
        refused.stderr.split()
    )
    given = run("generate", photo, "--from", "clip.mp4", "--end-frame", second, "-o", "yes.mp4")
    assert given.exit_code == 0, given.output


def test_no_two_options_have_the_same_name() -> None:
    names = Counter(name for option in command().params for name in (*option.opts, *option.secondary_opts))
    assert [name for name, count in names.items() if count > 1] == []
    assert {"--camera", "--lock", "--drag", "--brush", "--end-frame", "--loop", "--extend"} <= names.keys()


def test_the_help_is_in_parts_and_says_what_a_flag_takes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = run("generate", "--help").output
    lines = {line.split()[1]: line for line in text.splitlines() if line.startswith("│ --")}
    assert [panel in text for panel in ("─ Method ─", "─ Finishing ─")] == [True, True]
    assert "FILE" in lines["--lock"]
    assert "SHARE=FILE" in lines["--end-frame.keys"]
    assert "NAME=VALUE" in lines["--motion-strength"]
    assert "NAME=VALUE" not in lines["--loop"]
    assert "--lock.mask" not in lines, "the same as --lock"
    assert {"--lock.box", "--motion-strength.strength", "--loop.camera"} <= lines.keys()
    assert "(default )" not in text


def test_pairs_that_are_no_parameters_are_the_text() -> None:
    assert values({"method__camera": "zoom=1.2,camera=x"})["method"] == {
        "kind": "camera",
        "camera": "zoom=1.2,camera=x",
    }
    with pytest.raises(BadInput, match="one method"):
        values({"method__loop": True, "method__lock": "a.png"})


def test_words_fill_the_fields_and_flags_win(run: Run, photo: Path, second: Path) -> None:
    say = ("--say", "slow push-in, hold the background, lively, make her smile")
    result = run("generate", photo, "-o", "clip.mp4", *say, "--seed", 1)
    assert result.exit_code == 0, result.output
    assert inside("clip.mp4") == {"kind": "lock", "camera": "push in*0.5"}
    assert open_settings(Path("clip.mp4")).request.motion_bucket_id == 180
    heard = " ".join(result.stderr.split())
    for line in ("Push in ×0.5 (“slow push-in”)", "The background stays (", "Motion 180 (", "Not used: make her smile"):
        assert line in heard
    made = method(run, *say, "--lock", second, "--lock.camera", "pan left", "--motion-bucket-id", 50)
    assert (made["kind"], made["camera"]) == ("lock", "pan left")
    assert made["mask"].startswith("sha256:")
    assert open_settings(Path("clip.mp4")).request.motion_bucket_id == 50
    assert method(run, "--say", "pan left", "--extend", "4s")["camera"] == "pan left", "the method that flags chose"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--say", "end on the second picture"), "--say: give the picture that the clip ends on: --end-frame FILE."),
        (("--say", "x" * 600), "--say: describe the motion in at most 500 letters."),
    ],
)
def test_words_that_need_more_say_what(run: Run, photo: Path, flags: tuple[str, ...], said: str) -> None:
    result = run("generate", photo, "-o", "clip.mp4", *flags)
    assert (result.exit_code, said in " ".join(result.stderr.split())) == (2, True), result.output
