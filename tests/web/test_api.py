"""The public API as a program meets it: through gradio_client over HTTP."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from svd_ui.assets import Assets
from svd_ui.methods import METHODS
from svd_ui.post import POST
from svd_ui.request import GenerationRequest
from svd_ui.settings import REPOSITORY, Settings
from svd_ui.web.context import Context
from tests.fakes import FakeEngine
from tests.media.files import clip

from .conftest import Served, serving

STATUS = {
    "id", "state", "step", "total", "position", "eta_seconds", "message", "notes", "error", "preview", "preview_frames", "video", "request",
}  # fmt: skip


@pytest.fixture(scope="module")
def public(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Reachable by strangers, so that ownership counts; the model that makes pictures is here."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), host="0.0.0.0", checkpoint="nano")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Context, "text_to_image_present", lambda self: True)
        yield from serving(settings, FakeEngine(steps=3, delay=0.05, settings=settings))


@pytest.fixture(scope="module")
def client(public: Served) -> Client:
    return Client(public.url.replace("0.0.0.0", "127.0.0.1"), verbose=False)


@pytest.fixture
def gate(public: Served) -> Iterator[threading.Event]:
    """Clips wait for it before each step."""
    public.engine.gate = gate = threading.Event()
    yield gate
    gate.set()
    public.engine.gate = None


def ended(client: Client, id: str) -> dict:
    for _ in range(1200):
        status = client.predict(id=id, api_name="/status")
        if status["state"] in {"finished", "failed", "cancelled"}:
            return status
        time.sleep(0.05)
    raise AssertionError("the job did not end")


def test_the_parameters_are_the_requests_fields_and_all_optional(client: Client) -> None:
    for name in ("/submit", "/generate"):
        parameters = client.view_api(return_format="dict")["named_endpoints"][name]["parameters"]
        assert [p["parameter_name"] for p in parameters] == [*GenerationRequest.model_fields, "tile", "token", "frame"]
        assert all(p["parameter_has_default"] and p["parameter_default"] is None for p in parameters)


def test_only_the_named_endpoints_are_public(client: Client) -> None:
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {"/submit", "/generate", "/status", "/cancel", "/history", "/words", "/schema"}


def test_submit_then_status_then_the_video_arrives(client: Client, photo: Path) -> None:
    made = client.predict(image=handle_file(photo), motion_bucket_id=180, seed=7, api_name="/submit")
    assert len(made["id"]) >= 32
    status = ended(client, made["id"])
    assert set(status) == STATUS
    assert (status["state"], status["error"]) == ("finished", None)
    assert status["request"]["seed"] == 7
    assert status["request"]["motion_bucket_id"] == 180
    assert Path(status["video"]).read_bytes()[4:8] == b"ftyp"
    assert Path(status["preview"]).is_file()


def test_what_was_changed_about_the_picture_is_said(client: Client, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(photo.read_bytes()[:-2])
    for name in ("/submit", "/generate"):
        made = client.predict(image=handle_file(tmp_path / "cut.jpg"), num_frames=2, api_name=name)
        assert any("end of the file is missing" in note for note in made["notes"])
    assert client.predict(image=handle_file(photo), num_frames=2, api_name="/submit")["notes"] == []


def test_a_walls_tiles_arrive_as_files_with_their_seed_and_motion(client: Client, photo: Path) -> None:
    wall = {"seeds": 2, "motion_bucket_ids": [40, 200]}
    made = client.predict(image=handle_file(photo), seed=7, speed="draft", wall=wall, api_name="/generate")
    assert set(made) == STATUS | {"tiles", "token"}
    assert made["video"] is None
    assert Path(made["preview"]).is_file()
    assert [(tile["seed"], tile["motion_bucket_id"]) for tile in made["tiles"]] == [
        (7, 40),
        (7, 200),
        (8, 40),
        (8, 200),
    ]
    assert len({Path(tile["video"]).read_bytes() for tile in made["tiles"]}) == 4


def test_a_tile_is_rendered_in_full_by_its_name(client: Client) -> None:
    wall = {"seeds": 2, "motion_bucket_ids": [40, 200]}
    made = client.predict(prompt="a fox", seed=7, speed="draft", wall=wall, api_name="/generate")
    full = client.predict(tile=f"{made['id']}/2", output_fps=12, api_name="/generate")
    assert Path(full["video"]).is_file()
    asked = full["request"]
    assert (asked["wall"], asked["speed"], asked["seed"], asked["motion_bucket_id"]) == (None, "exact", 8, 40)
    assert (asked["output_fps"], asked["prompt"], asked["image"]) == (12, None, made["request"]["image"])
    for name in (f"{made['id']}/4", f"{made['id']}/x", "nothing/0", made["id"]):
        with pytest.raises(AppError, match="no longer|not here|no tile|no job|is no"):
            client.predict(tile=name, api_name="/submit")


def test_the_page_gets_a_tile_by_its_index(client: Client, public: Served, photo: Path) -> None:
    wall = {"seeds": 1, "motion_bucket_ids": [40, 200]}
    made = client.predict(image=handle_file(photo), seed=7, wall=wall, api_name="/generate")
    base = f"{client.src.rstrip('/')}/svd/job/{made['id']}"
    served = httpx.get(f"{base}/tile-1", params={"download": ""})
    assert (served.headers["content-type"], served.content[4:8]) == ("video/mp4", b"ftyp")
    assert 'filename="auto-7-motion-200.mp4"' in served.headers["content-disposition"]
    assert [httpx.get(f"{base}/{name}").status_code for name in ("tile-2", "tile-00.mp4", "video")] == [404] * 3


def test_generate_waits_and_three_run_at_once(
    client: Client, public: Served, gate: threading.Event, photo: Path
) -> None:
    before = len(public.jobs.history(limit=100))
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(client.predict, image=handle_file(photo), seed=n, api_name="/generate") for n in range(3)]
        end = time.monotonic() + 60
        while len(public.jobs.history(limit=100)) < before + 3 and time.monotonic() < end:
            time.sleep(0.05)
        waiting = [call for call in calls if not call.done()]
        gate.set()
        results = [call.result() for call in calls]
    assert len(waiting) == 3
    assert [result["state"] for result in results] == ["finished"] * 3
    assert len({result["token"] for result in results}) == 3


def test_a_path_on_the_server_is_refused(client: Client, photo: Path) -> None:
    for value in (str(photo), "/etc/passwd", "sha256:" + "0" * 64):
        with pytest.raises(AppError, match="Upload the picture"):
            client.predict(image=value, api_name="/submit")


def test_a_method_takes_uploads_as_the_picture_is_taken(client: Client, public: Served, photo: Path) -> None:
    upload, assets = handle_file(photo), Assets.of(public.settings)
    method = {"kind": "end_frame", "image": upload, "keys": {"0.4": upload}}
    made = client.predict(image=upload, method=method, num_frames=2, api_name="/submit")
    kept = public.jobs.get(made["id"]).request
    assert kept.method.model_dump() == {"kind": "end_frame", "image": kept.image, "keys": f"0.4={kept.image}"}
    again = {"kind": "lock", "mask": kept.image}
    assert client.predict(image=upload, method=again, num_frames=2, api_name="/submit")["id"]
    assert assets.path(kept.image or "").is_file()


def test_words_become_values_and_chips(client: Client, photo: Path) -> None:
    heard = client.predict(text="slow push-in, hold the background", api_name="/words")
    assert heard["values"] == {"method": {"kind": "lock", "camera": "push in*0.5"}}
    assert [chip["text"] for chip in heard["chips"]] == ["Push in ×0.5", "The background stays"]
    fewer = client.predict(text="slow push-in, hold the background", without=[1], api_name="/words")
    assert fewer["values"] == {"method": {"kind": "camera", "camera": "push in*0.5"}}
    assert client.predict(image=handle_file(photo), num_frames=2, **heard["values"], api_name="/submit")["id"]
    with pytest.raises(AppError, match="at most 500 letters"):
        client.predict(text="x" * 501, api_name="/words")


def test_no_parameter_is_taken_for_a_file() -> None:
    """gradio and its client take any ``{"path": "..."}`` for one, and would try to fetch it."""
    kinds = [*METHODS.classes().values(), *POST.classes().values()]
    assert not [cls for cls in kinds if "path" in cls.model_fields]


def test_a_path_inside_a_method_is_refused(client: Client, photo: Path) -> None:
    forged = {"path": "/etc/passwd", "meta": {"_type": "nothing"}}
    for value, said in (
        ("/etc/passwd", "Upload the picture"),
        (forged, "paths on the server are not read"),
        (f"sha256:{'0' * 64}", "Mask picture: the picture is gone"),
    ):
        with pytest.raises(AppError, match=said):
            client.predict(image=handle_file(photo), method={"kind": "brush", "mask": value}, api_name="/submit")


def test_a_forged_upload_is_refused(public: Served, photo: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What gradio_client would never send: a FileData that names a file nobody uploaded, or an address to fetch one from."""
    base = public.url.replace("0.0.0.0", "127.0.0.1").rstrip("/")
    handlers = httpx.get(f"{base}/config").json()["dependencies"]
    inputs = {one["api_name"]: len(one["inputs"]) for one in handlers}
    before = {path for path in uploaded_files() if path.name == "x.png"}
    paths = (
        str(photo),
        "/etc/passwd",
        str(public.settings.history_file),
        "http://127.0.0.1:9/x.png",
        "https://x.test/x.png",
        "/x\nFORGED",
    )
    for path in paths:
        forged = {"path": path, "meta": {"_type": "gradio.FileData"}}
        for name in ("submit", "words"):
            body = {"data": [forged] + [None] * (inputs[name] - 1)}
            told = httpx.post(f"{base}/gradio_api/run/{name}", json=body)
            assert told.status_code == 500, (name, path)
            wanted = "addresses are not fetched" if path.startswith("http") else "paths on the server are not read"
            assert told.json()["error"].startswith("Upload the file: ") and wanted in told.text, (name, path)
    assert {path for path in uploaded_files() if path.name == "x.png"} == before
    told_to_us = capfd.readouterr()
    assert "FORGED" not in told_to_us.out + told_to_us.err


def uploaded_files() -> list[Path]:
    return list(Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"num_frames": 999}, "from 2 to 64"),
        ({"checkpoint": "nothing"}, "nothing"),
        ({"width": 100, "height": 64}, "multiple of 8"),
        ({"wall": {"seeds": 8, "motion_bucket_ids": [40, 90, 140, 200]}}, "at most 24 tiles"),
    ],
)
def test_bad_values_get_one_sentence_that_names_the_field(client: Client, photo: Path, values: dict, said: str) -> None:
    with pytest.raises(AppError, match=said):
        client.predict(image=handle_file(photo), **values, api_name="/submit")


def test_a_clip_has_the_shape_of_its_picture_and_a_clip_s_frame_may_be_it(
    client: Client, public: Served, tmp_path: Path
) -> None:
    frames = np.zeros((5, 96, 64, 3), np.uint8) + (50 * np.arange(5, dtype=np.uint8))[:, None, None, None]
    clip(tmp_path / "tall.mp4", frames)
    for frame, grey in {"last": 200, "0.25s": 100, None: 0}.items():
        made = client.predict(
            image=handle_file(tmp_path / "tall.mp4"),
            num_frames=2,
            api_name="/submit",
            **({"frame": frame} if frame else {}),
        )
        request = public.jobs.get(made["id"]).request
        assert request.image is not None
        assert request.height > request.width  # type: ignore[operator]
        picture = np.asarray(Assets.of(public.settings).open(request.image))
        assert picture.mean() == pytest.approx(grey, abs=2)
    for values, said in (({"frame": "soon"}, "is no frame"), ({"frame": "9"}, "has 5 frames")):
        with pytest.raises(AppError, match=said):
            client.predict(image=handle_file(tmp_path / "tall.mp4"), **values, api_name="/submit")
    with pytest.raises(AppError, match="A frame is of a clip"):
        client.predict(prompt="a fox", frame="last", api_name="/submit")


def test_the_crop_is_on_the_subject_unless_it_is_said_where(client: Client, public: Served) -> None:
    photo = handle_file(REPOSITORY / "benchmarks" / "data" / "astronaut.jpg")
    shape = {"image": photo, "width": 128, "height": 72, "num_frames": 2, "api_name": "/submit"}
    found = public.jobs.get(client.predict(**shape)["id"]).request
    assert found.focus_x == 0.5 and 0.2 < (found.focus_y or 0) < 0.3
    said = public.jobs.get(client.predict(**shape, focus_x=0.5, focus_y=0.5)["id"]).request
    assert said.focus == (0.5, 0.5)


def test_neither_picture_nor_prompt_is_refused(client: Client) -> None:
    with pytest.raises(AppError, match="exactly one"):
        client.predict(api_name="/submit")


def test_a_text_file_named_jpg_is_refused_in_words(client: Client, tmp_path: Path) -> None:
    (tmp_path / "fake.jpg").write_text("hello")
    with pytest.raises(AppError) as error:
        client.predict(image=handle_file(tmp_path / "fake.jpg"), api_name="/submit")
    assert "Traceback" not in str(error.value)
    assert str(tmp_path) not in str(error.value)


def test_an_unknown_job_is_a_sentence(client: Client) -> None:
    with pytest.raises(AppError, match="There is no"):
        client.predict(id="0" * 32, api_name="/status")


def test_history_and_cancel_act_on_the_callers_jobs_only(client: Client, gate: threading.Event, photo: Path) -> None:
    mine = client.predict(image=handle_file(photo), api_name="/submit")
    history = client.predict(limit=5, token=mine["token"], api_name="/history")
    assert [job["id"] for job in history] == [mine["id"]]
    assert client.predict(limit=5, token="somebody else", api_name="/history") == []
    assert client.predict(api_name="/history") == []
    with pytest.raises(AppError, match="belongs to somebody else"):
        client.predict(id=mine["id"], token="somebody else", api_name="/cancel")
    stopped = client.predict(id=mine["id"], token=mine["token"], api_name="/cancel")
    assert set(stopped) == STATUS
    assert ended(client, mine["id"])["state"] == "cancelled"


def test_one_token_may_serve_several_jobs(client: Client, photo: Path) -> None:
    first = client.predict(image=handle_file(photo), api_name="/submit")
    second = client.predict(image=handle_file(photo), token=first["token"], api_name="/submit")
    assert second["token"] == first["token"]
    ids = [job["id"] for job in client.predict(token=first["token"], api_name="/history")]
    assert ids == [second["id"], first["id"]]
    page = client.predict(token=first["token"], limit=1, before=second["id"], api_name="/history")
    assert [job["id"] for job in page] == [first["id"]]


def test_files_are_served_by_known_ids_only(public: Served, client: Client, photo: Path) -> None:
    base = public.url.replace("0.0.0.0", "127.0.0.1").rstrip("/")
    made = client.predict(image=handle_file(photo), api_name="/submit")
    ended(client, made["id"])
    assert httpx.get(f"{base}/svd/job/{made['id']}/video", headers={"Range": "bytes=0-9"}).status_code == 206
    for path in (
        f"svd/job/{'0' * 32}/video", f"svd/job/{made['id']}/latents", f"svd/job/{made['id']}/..%2f..%2fx",
        f"svd/still/{'0' * 64}", "svd/example/..%2f..%2fREADME.md",
        f"gradio_api/file={public.settings.history_file}",
    ):  # fmt: skip
        assert httpx.get(f"{base}/{path}").status_code in {403, 404}, path


def test_a_login_guards_page_files_and_api(uploads: None, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, auth="ann:secret", checkpoint="nano")
    for served in serving(settings, FakeEngine(steps=1, settings=settings)):
        base = served.url.rstrip("/")
        assert httpx.get(f"{base}/config").status_code == 401
        assert httpx.get(f"{base}/svd/still/{'0' * 64}").status_code == 401
        assert httpx.post(f"{base}/gradio_api/call/history", json={"data": [1, None, None]}).status_code == 401
        with pytest.raises(Exception, match=r"(?i)auth|401|login"):
            Client(base, verbose=False)
        friend = Client(base, auth=("ann", "secret"), verbose=False)
        assert friend.predict(api_name="/history") == []
