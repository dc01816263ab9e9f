"""The moving picture at the top of the README: the real page in Chromium, a real clip, in the time it took.

    python -m benchmarks.moving_picture                                     writes docs/first-clip.webp
    python -m benchmarks.moving_picture --dark --checkpoint nano --out FILE

What the browser draws is recorded as it draws it; a pointer is painted where the mouse was. Only waiting is shortened: no
picture stands longer than ``LONGEST`` seconds.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from svd_ui.settings import REPOSITORY

from .first_clip import App, chromium, example, patient

VIEW = (1280, 760)
SIDE = 960
"""Pixels across the written picture."""
MOST_BYTES = 2_500_000
RATE = 12.0
LONGEST = 1.0
PLAYS = 5.0
"""Seconds of the finished clip."""
QUALITIES = (80, 70, 60, 50, 40, 30)
POINTER = ((0, 0), (0, 17), (4, 13), (7, 20), (10, 19), (7, 12), (12, 12))
POINTER_SCALE = 1.3


@dataclass(frozen=True)
class Shot:
    """What the page showed from ``at`` (seconds) on, and where the pointer was by then."""

    at: float
    picture: Image.Image
    pointer: tuple[float, float]


class Recorder:
    """What Chromium draws of ``page``, by its own screencast, and the pointer's way."""

    def __init__(self, page: Any) -> None:
        self.page, self.pointer = page, (VIEW[0] / 2, VIEW[1] - 60.0)
        self.shots: list[Shot] = []
        self._session = page.context.new_cdp_session(page)
        self._session.on("Page.screencastFrame", self._take)

    def start(self) -> None:
        self._session.send("Page.startScreencast", {"format": "jpeg", "quality": 92, "everyNthFrame": 1})

    def stop(self) -> None:
        self._session.send("Page.stopScreencast")

    def click(self, target: Any) -> None:
        """Move to ``target`` as a hand does, and click."""
        target.scroll_into_view_if_needed()
        box = target.bounding_box()
        to = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        begin, steps = self.pointer, 14
        for step in range(1, steps + 1):
            share = step / steps
            eased = share * share * (3 - 2 * share)
            self.pointer = tuple(a + (b - a) * eased for a, b in zip(begin, to, strict=True))  # type: ignore[assignment]
            self.page.mouse.move(*self.pointer)
            self._again()
            self.page.wait_for_timeout(35)
        self.page.mouse.click(*to)

    def _take(self, frame: dict[str, Any]) -> None:
        picture = Image.open(io.BytesIO(base64.b64decode(frame["data"]))).convert("RGB")
        self.shots.append(Shot(time.perf_counter(), picture, self.pointer))
        self._session.send("Page.screencastFrameAck", {"sessionId": frame["sessionId"]})

    def _again(self) -> None:
        """The pointer moves over a page that does not change."""
        if self.shots:
            self.shots.append(Shot(time.perf_counter(), self.shots[-1].picture, self.pointer))


def timeline(shots: Sequence[Shot], end: float) -> list[tuple[Shot, int]]:
    """(shot, milliseconds) at ``RATE`` pictures a second at most, waiting cut to ``LONGEST``; ``end`` is that of the last."""
    kept: list[Shot] = []
    for shot in shots:
        if kept and shot.at - kept[-1].at < 1 / RATE:
            kept[-1] = Shot(kept[-1].at, shot.picture, shot.pointer)  # the newer picture, in the older one's time
        else:
            kept.append(shot)
    ends = [shot.at for shot in kept[1:]] + [end]
    return [(shot, max(1, round(1000 * min(LONGEST, until - shot.at)))) for shot, until in zip(kept, ends, strict=True)]


def painted(shot: Shot) -> Image.Image:
    """``SIDE`` pixels across, with the pointer."""
    scale = SIDE / VIEW[0]
    picture = shot.picture.resize((SIDE, round(VIEW[1] * scale)), Image.Resampling.LANCZOS)
    outline = [
        (shot.pointer[0] * scale + x * POINTER_SCALE, shot.pointer[1] * scale + y * POINTER_SCALE) for x, y in POINTER
    ]
    ImageDraw.Draw(picture).polygon(outline, fill="white", outline="black")
    return picture


def written(path: Path, parts: Sequence[tuple[Image.Image, int]]) -> int:
    """Write an endless animated WebP at the best of ``QUALITIES`` that keeps to ``MOST_BYTES``; its size. Raises ValueError."""
    pictures, durations = zip(*parts, strict=True)
    for quality in QUALITIES:
        data = io.BytesIO()
        pictures[0].save(
            data, "WEBP", save_all=True, append_images=pictures[1:], duration=list(durations), loop=0,
            quality=quality, method=4, minimize_size=True, allow_mixed=True,
        )  # fmt: skip
        if data.tell() <= MOST_BYTES:
            path.write_bytes(data.getvalue())
            return data.tell()
    raise ValueError(
        f"more than {MOST_BYTES:,} bytes at quality {QUALITIES[-1]}: a shorter or smaller picture is needed"
    )


def record(address: str, browser: Any, dark: bool) -> list[tuple[Shot, int]]:
    """The first clip of a newcomer."""
    view = {"viewport": {"width": VIEW[0], "height": VIEW[1]}, "color_scheme": "dark" if dark else "light"}
    page = patient(browser.new_page(**view))
    page.goto(address)
    example(page).wait_for()
    page.wait_for_function("() => !document.body.innerText.includes('Starting the worker')")
    page.wait_for_timeout(2000)
    recorder = Recorder(page)
    recorder.start()
    page.wait_for_timeout(900)
    recorder.click(example(page))
    page.locator("#finder .exact").wait_for()
    page.wait_for_timeout(800)
    recorder.click(page.locator("#animate"))
    page.wait_for_selector("video.clip")
    page.wait_for_timeout(1000 * PLAYS)
    recorder.stop()
    end = time.perf_counter()
    page.close()
    return timeline(recorder.shots, end)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "first-clip.webp")
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--dark", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as data, chromium() as browser:
        command = (sys.executable, "-m", "svd_ui", "serve", "--checkpoint", given.checkpoint)
        app = App(REPOSITORY, Path(data), command)
        try:
            parts = record(app.address(), browser, given.dark)
        finally:
            app.close()
    size = written(given.out, [(painted(shot), milliseconds) for shot, milliseconds in parts])
    seconds = sum(milliseconds for _, milliseconds in parts) / 1000
    print(f"{given.out}: {len(parts)} pictures, {seconds:.1f} s, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
