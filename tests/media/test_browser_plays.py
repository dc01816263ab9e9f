"""A real browser plays what the writer writes, in the right colours."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from svd_ui.media.video import Mp4Writer
from tests.browser import FLAGS, chromium

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(chromium() is None, reason="no Chromium here")]

COLOUR = (200, 30, 90)
PLAY = """
async (source) => {
  const video = document.createElement('video');
  video.muted = true;
  video.src = source;
  await new Promise((resolve, reject) => {
    video.onended = resolve;
    video.onerror = () => reject(new Error(video.error && video.error.message));
    video.play().catch(reject);
  });
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  const middle = context.getImageData(canvas.width >> 1, canvas.height >> 1, 1, 1).data;
  return {width: video.videoWidth, height: video.videoHeight, seconds: video.duration, colour: [...middle].slice(0, 3)};
}
"""


@pytest.mark.parametrize("size", [(256, 144), (67, 45)])
def test_chromium_plays_the_clip_in_its_colours(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    with Mp4Writer(tmp_path / "clip.mp4", width, height, fps=14, comment="x") as writer:
        writer.add(np.full((7, height, width, 3), COLOUR, np.uint8))
    source = "data:video/mp4;base64," + base64.b64encode((tmp_path / "clip.mp4").read_bytes()).decode()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        played = browser.new_page().evaluate(PLAY, source)
        browser.close()
    assert (played["width"], played["height"]) == (width + width % 2, height + height % 2)
    assert played["seconds"] == pytest.approx(0.5, abs=0.02)
    assert max(abs(a - b) for a, b in zip(played["colour"], COLOUR, strict=True)) <= 3
