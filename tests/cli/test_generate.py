"""``python -m svd_ui generate`` from flags to files, without a model."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from svd_ui.assets import Assets
from svd_ui.catalog import nano_row
from svd_ui.errors import DiskFull, OutOfMemory, SvdUiError, Unexpected
from svd_ui.jobs.service import JobService, open_store
from svd_ui.media.video import read_frames
from svd_ui.request import GenerationRequest, LoraRef
from svd_ui.settings import REPOSITORY, Settings
from svd_ui.settings_tag import open_settings
from tests.cli.conftest import Run
from tests.fakes import DEFAULTS, FakeEngine
from tests.media.files import clip


def test_a_picture_becomes_a_clip_with_its_settings_inside(
    run: Run, photo: Path, engine: FakeEngine, settings: Settings
) -> None:
    result = run("generate", photo, "-o", "clip.mp4", "--motion-bucket-id", 180, "--seed", 7)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == "clip.mp4"
    assert len(read_frames(Path("clip.mp4"))) == 6
    inside = open_settings(Path("clip.mp4")).request
    assert (inside.motion_bucket_id, inside.seed) == (180, 7)
    with open_store(settings) as store:
        (job,) = store.history()
        assert (job.state, job.owner, job.request.image) == ("finished", "cli", inside.image)
    assert engine.closed


def test_the_default_name_is_the_stem_and_the_seed(run: Run, photo: Path) -> None:
    result = run("generate", photo, "--seed", 11)
    assert result.exit_code == 0, result.output
    assert Path("photo-11.mp4").is_file()


def test_a_folder_and_a_random_seed_give_a_name_too(run: Run, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    assert run("generate", photo, "-o", folder).exit_code == 0
    (clip,) = folder.iterdir()
    assert clip.name == f"photo-{open_settings(clip).request.seed}.mp4"


def test_every_field_of_the_request_is_a_flag(run: Run) -> None:
    text = run("generate", "--help").output
    for name in GenerationRequest.model_fields:
        assert f"--{name.replace('_', '-')} " in text


def test_a_method_is_a_kind_or_json(run: Run, photo: Path) -> None:
    assert run("generate", photo, "--method", "plain", "-o", "a.mp4").exit_code == 0
    assert run("generate", photo, "--method", '{"kind": "plain"}', "-o", "b.mp4").exit_code == 0
    broken = run("generate", photo, "--method", "{plain")
    assert (broken.exit_code, "--method" in broken.stderr) == (2, True)


def test_json_is_the_status_object_and_nothing_else(run: Run, photo: Path) -> None:
    result = run("generate", photo, "-o", "clip.mp4", "--json")
    status = json.loads(result.stdout)
    assert status["state"] == "finished"
    assert status["error"] is None
    assert status["request"]["num_frames"] == 6
    assert Path(status["video"]).is_file()
    assert status["output"] == ["clip.mp4"]


def test_from_takes_settings_and_picture_and_flags_win(run: Run, photo: Path) -> None:
    run("generate", photo, "-o", "first.mp4", "--motion-bucket-id", 33, "--seed", 5)
    result = run("generate", "--from", "first.mp4", "--seed", 6, "-o", "second.mp4")
    assert result.exit_code == 0, result.output
    first, second = (open_settings(Path(name)).request for name in ("first.mp4", "second.mp4"))
    assert (second.motion_bucket_id, second.seed, second.image) == (33, 6, first.image)


def test_from_a_clip_of_another_machine_asks_for_the_picture(
    run: Run, photo: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run("generate", photo, "-o", "first.mp4", "--seed", 5)
    monkeypatch.setenv("SVD_UI_DATA_DIR", str(tmp_path / "elsewhere"))
    refused = run("generate", "--from", "first.mp4", "-o", "no.mp4")
    assert refused.exit_code == 2
    assert "is not in this data folder" in refused.stderr
    assert "--frame first" in refused.stderr
    result = run("generate", photo, "--from", "first.mp4", "-o", "yes.mp4")
    assert result.exit_code == 0, result.output


def test_settings_of_a_file_leave_to_the_checkpoint_what_it_sets_itself(
    run: Run, photo: Path, engine: FakeEngine
) -> None:
    own = nano_row()
    set_by_hand = ("--checkpoint", "nano", "--num-frames", own.num_frames, "--fps", 9)
    assert run("generate", photo, "-o", "first.mp4", *set_by_hand).exit_code == 0
    assert engine.calls[-1].num_frames == own.num_frames
    assert run("generate", "--from", "first.mp4", "-o", "again.mp4").exit_code == 0
    assert (engine.calls[-1].num_frames, engine.calls[-1].fps) == (DEFAULTS["num_frames"], 9), "blank, and 9"


def test_a_preset_fills_what_flags_leave(run: Run, photo: Path, engine: FakeEngine) -> None:
    from svd_ui.presets import presets

    preset = next(p for p in presets().values() if "motion_bucket_id" in p.values)
    assert run("generate", photo, "--preset", preset.id, "-o", "a.mp4").exit_code == 0
    assert engine.calls[-1].motion_bucket_id == preset.values["motion_bucket_id"]
    assert run("generate", photo, "--preset", preset.id, "--motion-bucket-id", 127, "-o", "b.mp4").exit_code == 0
    assert engine.calls[-1].motion_bucket_id == 127  # also where it is the default
    unknown = run("generate", photo, "--preset", "nope")
    assert (unknown.exit_code, preset.id in unknown.stderr) == (2, True)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "Give a picture"),
        (("missing.jpg",), "no file missing.jpg"),
        (("photo.jpg", "--motion-bucket-id", "999"), "from 1 to 255"),
        (("photo.jpg", "--motion-bucket-id", "lively"), "Invalid value"),
        (("photo.jpg", "--checkpoint", "nope"), "no checkpoint 'nope'"),
        (("photo.jpg", "--prompt", "a lake"), "not both"),
        (("photo.jpg", "-o", "clip.avi"), ".mp4"),
        (("photo.jpg", "-o", "photo.jpg/clip.mp4"), "cannot be written"),
        (("text.jpg",), "text.jpg"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(run: Run, photo: Path, args: tuple[str, ...], said: str) -> None:
    Path("text.jpg").write_text("not a picture", "utf-8")
    result = run("generate", *args)
    assert result.exit_code == 2, result.output
    if args != ("text.jpg",):
        assert said in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OutOfMemory(doing="decoding", remedy="Choose '8gb'."), 4),
        (DiskFull(), 1),
        (Unexpected(detail="x"), 1),
    ],
)
def test_a_failure_leaves_with_its_code(
    run: Run, photo: Path, engine: FakeEngine, error: SvdUiError, code: int
) -> None:
    engine.fail = error
    result = run("generate", photo, "-o", "clip.mp4")
    assert result.exit_code == code
    assert error.message.split(".")[0] in result.stderr.replace("\n", " ")
    assert not Path("clip.mp4").exists()


def test_missing_weights_are_said_before_anything_runs(run: Run, photo: Path, engine: FakeEngine) -> None:
    result = run("generate", photo, "--checkpoint", "svd-xt")
    assert (result.exit_code, "--download" in result.stderr) == (3, True)
    result = run("generate", "--prompt", "a lake", "-o", "clip.mp4")
    assert (result.exit_code, "makes the picture" in result.stderr) == (3, True)
    assert engine.calls == []


def test_a_prompt_makes_its_own_still(run: Run, settings: Settings) -> None:
    still = Path(settings.text_to_image)
    still.mkdir()
    (still / "model_index.json").write_text("{}", "utf-8")
    result = run("generate", "--prompt", "A lake at dawn", "--seed", 3)
    assert result.exit_code == 0, result.output
    assert Path("a-lake-at-dawn-3.mp4").is_file()


def test_ctrl_c_cancels_the_job(run: Run, photo: Path, engine: FakeEngine, settings: Settings) -> None:
    engine.fail = KeyboardInterrupt()
    result = run("generate", photo, "-o", "clip.mp4")
    assert result.exit_code == 130, result.output
    with open_store(settings) as store:
        assert store.history()[0].state == "cancelled"


def test_a_live_server_makes_the_clip(run: Run, photo: Path, engine: FakeEngine, settings: Settings) -> None:
    theirs = FakeEngine(delay=0.001, settings=settings)
    with JobService(settings, theirs) as server:
        server.start()
        result = run("generate", photo, "-o", "clip.mp4")
    assert result.exit_code == 0, result.output
    assert len(theirs.calls) == 1
    assert engine.calls == []
    assert Path("clip.mp4").is_file()


def test_cancelled_at_the_server_is_130_here(run: Run, photo: Path, settings: Settings) -> None:
    gate = threading.Event()
    with JobService(settings, FakeEngine(delay=0.001, settings=settings, gate=gate)) as server:
        server.start()

        def cancel() -> None:
            while not (found := server.history()):
                threading.Event().wait(0.05)
            server.cancel(found[0].id)

        thread = threading.Thread(target=cancel)
        thread.start()
        result = run("generate", photo, "-o", "clip.mp4")
        thread.join()
    assert result.exit_code == 130, result.output


def test_help_is_quick_and_light() -> None:
    code = (
        "import sys, runpy; sys.argv = ['svd-ui', '--help']\n"
        "try: runpy.run_module('svd_ui', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'gradio', 'huggingface_hub', 'av'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["a,b", "x=2", "a:0.5", "[v2]", "-dash", "style/slow pan (1)", "Anna's", "ünï"])
def test_a_lora_of_any_name_goes_into_the_clip_and_comes_back(
    run: Run, photo: Path, settings: Settings, name: str
) -> None:
    path = settings.models_dir / "loras" / f"{name}.safetensors"
    path.parent.mkdir(parents=True)
    names = ("mid_block.x.lora_A.weight", "mid_block.x.lora_B.weight")
    save_file({names[0]: np.zeros((2, 4), np.float32), names[1]: np.zeros((4, 2), np.float32)}, path)
    for typed, weight in ((name, 1), (f"{name}:0.8", 0.8), (f"{name}=-1.5", -1.5)):
        result = run("generate", photo, "-o", "clip.mp4", "--lora", typed)
        assert result.exit_code == 0, result.output
        wanted = (LoraRef(name=name, weight=weight),)
        assert open_settings(Path("clip.mp4")).request.loras == wanted
    assert run("generate", photo, "--from", "clip.mp4", "-o", "again.mp4").exit_code == 0
    assert open_settings(Path("again.mp4")).request.loras == wanted
    listed = run("models", "loras")
    assert name in listed.stdout
    assert "no alpha" in listed.stdout
    entries = json.loads(run("models", "loras", "--json").stdout)
    assert [entry["name"] for entry in entries] == [name]


def test_a_lora_that_is_not_there_and_a_weight_out_of_range_are_said(run: Run, photo: Path, settings: Settings) -> None:
    missing = run("generate", photo, "--loras", "../../etc/passwd:1")
    assert (missing.exit_code, "not by a path" in missing.stderr) == (2, True)
    assert run("generate", photo, "--loras", "none:1").exit_code == 2
    heavy = run("generate", photo, "--loras", "none:9")
    assert "Weight must be a number from -2" in heavy.stderr


# Clips as input, and the shape of the picture


def test_a_frame_of_a_clip_is_animated(run: Run, tmp_path: Path, settings: Settings) -> None:
    frames = np.zeros((5, 64, 96, 3), np.uint8) + (50 * np.arange(5, dtype=np.uint8))[:, None, None, None]
    clip(tmp_path / "a.mp4", frames)
    for frame, grey in {None: 0, "last": 200, "2": 100, "0.25s": 100}.items():
        result = run("generate", "a.mp4", "-o", "out.mp4", *(["--frame", frame] if frame else []))
        assert result.exit_code == 0, result.output
        assert "of the clip is used" in result.stderr
        ref = open_settings(Path("out.mp4")).request.image
        assert ref is not None
        assert np.asarray(Assets.of(settings).open(ref)).mean() == pytest.approx(grey, abs=2)
    for frame, said in {"9": "has 5 frames: choose one of 0 to 4", "soon": "is no frame"}.items():
        result = run("generate", "a.mp4", "--frame", frame)
        assert (result.exit_code, said in result.stderr) == (2, True)


def test_going_on_from_the_last_frame_of_our_own_clip(run: Run, photo: Path, settings: Settings) -> None:
    run("generate", photo, "-o", "first.mp4", "--motion-bucket-id", 33, "--seed", 5)
    result = run("generate", "--from", "first.mp4", "--frame", "last", "-o", "second.mp4")
    assert result.exit_code == 0, result.output
    first, second = (open_settings(Path(name)).request for name in ("first.mp4", "second.mp4"))
    assert second.motion_bucket_id == 33
    assert second.image != first.image
    assert second.image is not None
    last = read_frames(Path("first.mp4"))[-1].astype(int)
    assert np.abs(np.asarray(Assets.of(settings).open(second.image)).astype(int) - last).mean() < 2


def test_what_was_changed_about_the_picture_is_in_the_json(run: Run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(photo.read_bytes()[:-2])
    status = json.loads(run("generate", "cut.jpg", "-o", "out.mp4", "--json").stdout)
    assert any("end of the file is missing" in note for note in status["notes"])


def test_a_folder_is_no_picture(run: Run, tmp_path: Path) -> None:
    assert "is a folder: give one picture" in run("generate", tmp_path).stderr


def test_a_frame_of_nothing_is_refused(run: Run, photo: Path) -> None:
    assert "one picture, not a clip" in run("generate", photo, "--frame", "last").stderr
    assert "Give the clip" in run("generate", "--prompt", "a fox", "--frame", "last").stderr


@pytest.mark.parametrize(
    ("size", "expected"), [((108, 192), (576, 1024)), ((96, 96), (768, 768)), ((192, 108), (1024, 576))]
)
def test_a_clip_has_the_shape_of_its_picture(
    size: tuple[int, int], expected: tuple[int, int], run: Run, tmp_path: Path
) -> None:
    Image.linear_gradient("L").resize(size).save(tmp_path / "portrait.jpg")
    result = run("generate", "portrait.jpg", "-o", "out.mp4", "--num-frames", 2)
    assert result.exit_code == 0, result.output
    made = open_settings(Path("out.mp4")).request
    assert (made.width, made.height) == expected
    assert "keeps" not in result.stderr


def test_a_size_that_is_given_stays(run: Run, tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((540, 960)).save(tmp_path / "portrait.jpg")
    run("generate", "portrait.jpg", "-o", "out.mp4", "--width", 256, "--height", 144)
    made = open_settings(Path("out.mp4")).request
    assert (made.width, made.height) == (256, 144)


def test_the_crop_is_on_the_subject_unless_flags_say_where(run: Run, settings: Settings) -> None:
    photo = REPOSITORY / "benchmarks" / "data" / "astronaut.jpg"
    assert run("generate", photo, "--width", 128, "--height", 72, "--seed", 5, "-o", "head.mp4").exit_code == 0
    found = open_settings(Path("head.mp4")).request
    assert 0.2 < (found.focus_y or 0) < 0.3
    assert run("generate", "--from", "head.mp4", "-o", "again.mp4").exit_code == 0
    assert open_settings(Path("again.mp4")).request.focus == found.focus
    other = REPOSITORY / "benchmarks" / "data" / "flower.jpg"
    assert run("generate", other, "--from", "head.mp4", "-o", "other.mp4").exit_code == 0
    assert open_settings(Path("other.mp4")).request.focus_y == pytest.approx(0.5, abs=0.05), "its own, not hers"
    assert run("generate", photo, "--width", 128, "--height", 72, "--focus-y", 0.8, "-o", "low.mp4").exit_code == 0
    assert open_settings(Path("low.mp4")).request.focus == (0.5, 0.8)
