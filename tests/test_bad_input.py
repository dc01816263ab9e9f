"""The list of bad input, walked whole: what people and clients send, through the door for pictures and into a job.

Everything either works right or gets one clear sentence; nothing is lost and no traceback travels.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from svd_ui.accounts import Accounts
from svd_ui.assets import Assets
from svd_ui.errors import BadInput, BadPicture, DiskFull, SvdUiError
from svd_ui.finetune import read_config
from svd_ui.jobs.service import JobService
from svd_ui.media.image import fit
from svd_ui.notes import sentence
from svd_ui.presets import presets, validate
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.fakes import FakeEngine


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def scene(mode: str = "RGB", size: tuple[int, int] = (320, 180)) -> Image.Image:
    y, x = np.mgrid[: size[1], : size[0]]
    pixels = np.stack([255 * x // size[0], 255 * y // size[1], 0 * x + 90], -1).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[1] = "N"
    return encoded(scene(size=(180, 320)), "JPEG", exif=exif)


def animated(kind: str) -> bytes:
    return encoded(scene(), kind, save_all=True, append_images=[Image.new("RGB", (320, 180), "red")])


def with_alpha() -> bytes:
    image = scene("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return encoded(image)


def sixteen_bit() -> bytes:
    return encoded(Image.fromarray(np.linspace(0, 65535, 320).astype(np.uint16)[None].repeat(180, 0)))


def palette() -> bytes:
    return encoded(scene().quantize(16), transparency=0)


def bomb(side: int = 50_000) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


WORKS: dict[str, tuple[Callable[[], bytes], tuple[int, int], str]] = {
    "exif rotated": (rotated, (320, 180), ""),
    "cmyk": (lambda: encoded(scene("CMYK"), "JPEG"), (320, 180), ""),
    "16 bit": (sixteen_bit, (320, 180), ""),
    "palette with transparency": (palette, (320, 180), "Transparent areas"),
    "rgba": (with_alpha, (320, 180), "Transparent areas"),
    "grey with alpha": (lambda: encoded(Image.new("LA", (320, 180), (90, 9))), (320, 180), "Transparent areas"),
    "1 bit": (lambda: encoded(scene("1")), (320, 180), ""),
    "animated gif": (lambda: animated("GIF"), (320, 180), "Only the first frame"),
    "animated webp": (lambda: animated("WEBP"), (320, 180), "Only the first frame"),
    "one pixel": (lambda: encoded(Image.new("RGB", (1, 1), "red")), (1, 1), "only 1 x 1"),
    "a strip": (lambda: encoded(Image.new("RGB", (20_000, 10), "red")), (4096, 2), "very wide"),
    "upright strip": (lambda: encoded(Image.new("RGB", (10, 20_000), "red")), (2, 4096), "very tall"),
    "large": (lambda: encoded(Image.new("RGB", (8000, 6000), "red"), "JPEG"), (4096, 3072), ""),
}
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "truncated jpeg": (lambda: encoded(scene(), "JPEG")[:-900], "damaged or incomplete"),
    "truncated png": (lambda: encoded(scene())[:-300], "damaged or incomplete"),
    "text named jpg": (lambda: b"just some notes\n" * 50, "text file"),
    "bomb": (bomb, "too large|at most 64 million"),
    "smaller bomb": (lambda: bomb(9000), "9000 x 9000 pixels; at most 64 million"),
    "60 MB": (lambda: encoded(scene()) + bytes(60_000_000), "at most 50.0 MB"),
    "nothing": (lambda: b"", "empty"),
    "heic": (lambda: b"\0\0\0\x18ftypheic" + bytes(64), "save it as JPEG"),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "export it as PNG"),
    "html": (lambda: b"<!doctype html><title>404</title>", "text file"),
    "random": (lambda: np.random.default_rng(0).bytes(5000), "Formats that work"),
    "path": (lambda: "/etc/passwd", "upload"),
    "url": (lambda: "https://example.org/photo.jpg", "upload"),
    "number": (lambda: 7, "upload"),
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", _env_file=None)  # type: ignore[call-arg]


@pytest.fixture
def engine(settings: Settings) -> FakeEngine:
    return FakeEngine(steps=1, delay=0.0, settings=settings)


@pytest.fixture
def service(settings: Settings, engine: FakeEngine) -> Iterator[JobService]:
    service = JobService(settings, engine)
    service.start()
    yield service
    service.close()


def one_sentence(error: SvdUiError, field: str | None) -> None:
    data = error.to_dict()
    assert data["params"]["field"] == field
    for trace in ("Traceback", "\n", "Error:", "object at", ".py", "/etc", str(Path.home())):
        assert trace not in data["message"]
    assert 10 < len(data["message"]) < 220


@pytest.mark.parametrize("case", WORKS)
def test_works_right_up_to_a_playable_clip(case: str, settings: Settings, service: JobService) -> None:
    make, size, note = WORKS[case]
    added = Assets.of(settings).add(make())
    assert (added.width, added.height) == size
    assert any(note in sentence(line) for line in added.notes) if note else added.notes == ()
    assert fit(Assets.of(settings).open(added.ref), 256, 144).size == (256, 144)
    job = service.wait(service.submit(GenerationRequest(image=added.ref, num_frames=2), "me").id, 60)
    assert job.state == "finished", job.error
    video = service.file(job, "video")
    assert video is not None
    assert video.stat().st_size > 500


@pytest.mark.parametrize("case", REFUSED)
def test_gets_one_sentence_and_leaves_nothing(case: str, settings: Settings) -> None:
    make, said = REFUSED[case]
    with pytest.raises(BadPicture, match=said) as caught:
        Assets.of(settings).add(make())
    one_sentence(caught.value, "image")
    assert not settings.assets_dir.exists()


def test_files_on_disk_behave_as_their_bytes_do(settings: Settings, tmp_path: Path) -> None:
    for case, (make, said) in REFUSED.items():
        data = make()
        if isinstance(data, bytes):
            path = tmp_path / "photo.jpg"
            path.write_bytes(data)
            with pytest.raises(BadPicture, match=said) as caught:
                Assets.of(settings).add(path)
            assert caught.value.field == "image", case


@pytest.mark.parametrize("image", ["/etc/passwd", "photo.jpg", "file:///etc/passwd", "sha256:../../x", "", 7, ["a"]])
def test_a_request_names_pictures_by_content_only(image: object) -> None:
    with pytest.raises(BadInput) as caught:
        validate({"image": image})
    one_sentence(caught.value, "image")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"image": "sha256:" + "0" * 64}, "image"),
        ({}, "image"),
        ({"prompt": "   "}, "image"),
        ({"prompt": "a fox", "checkpoint": "svd-9"}, "checkpoint"),
    ],
)
def test_a_job_that_cannot_be_is_refused_on_its_field(values: dict[str, Any], field: str, service: JobService) -> None:
    with pytest.raises(BadInput) as caught:
        service.submit(validate(values), "me")
    one_sentence(caught.value, field)
    assert service.history() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("motion_bucket_id", 256),
        ("motion_bucket_id", -1),
        ("width", 63),
        ("height", 4096),
        ("num_frames", 1),
        ("num_frames", 10_000),
        ("num_inference_steps", 0),
        ("fps", 0),
        ("output_fps", 1000),
        ("noise_aug_strength", 11),
        ("min_guidance_scale", 0.5),
        ("decode_chunk_size", 0),
        ("seed", -1),
        ("seed", 2**53),
        ("focus_x", float("inf")),
        ("prompt", "x" * 501),
        ("negative_prompt", "x" * 501),
        ("output_format", "exe"),
        ("profile", "1tb"),
        ("method", "plain; rm"),
        ("post", [{"kind": "upscale"}]),
        ("loras", [{"name": "../../x"}]),
        ("checkpoint", "x" * 121),
    ],
)
def test_values_out_of_range_are_a_message_on_the_field(name: str, value: object) -> None:
    with pytest.raises(BadInput) as caught:
        validate({name: value})
    one_sentence(caught.value, name)


def test_a_full_disk_fails_one_job_and_keeps_the_rest(
    settings: Settings, engine: FakeEngine, service: JobService
) -> None:
    request = GenerationRequest(prompt="a fox", num_frames=2)
    before = service.wait(service.submit(request, "me").id, 60)
    engine.fail = DiskFull()
    failed = service.wait(service.submit(request, "me").id, 60)
    engine.fail = None
    after = service.wait(service.submit(request, "me").id, 60)
    assert [job.state for job in (before, failed, after)] == ["finished", "failed", "finished"]
    assert failed.error is not None
    assert failed.error["code"] == "disk_full"
    assert "Free some space" in failed.error["message"]
    assert {job.id for job in service.history()} == {before.id, failed.id, after.id}
    assert service.file(before, "video") is not None


def test_a_clip_whose_stored_picture_was_damaged_says_so_when_it_is_run_again(
    settings: Settings, service: JobService
) -> None:
    assets, data = Assets.of(settings), encoded(scene())
    ref = assets.add(data).ref
    job = service.wait(service.submit(GenerationRequest(image=ref, num_frames=2), "me").id, 60)
    path = assets.path(ref)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadPicture, match="damaged or replaced on disk: add the picture again") as caught:
        service.retry(job.id, "me")
    one_sentence(caught.value, "image")
    assets.add(data)
    assert service.wait(service.retry(job.id, "me").id, 60).state == "finished"


DEEP = "[" * 100_000
"""JSON that no reader comes to the end of."""


def _preset(path: Path) -> object:
    return presets(path.parent)


def _accounts(path: Path) -> object:
    return Accounts(path).all()


def _training(path: Path) -> object:
    return read_config(path, {})


@pytest.mark.parametrize("read", [_preset, _accounts, _training])
def test_json_that_is_nested_too_deep_is_a_damaged_file(read: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text(DEEP, "utf-8")
    with pytest.raises(BadInput) as caught:
        read(path)
    assert "deep.json" in caught.value.message
