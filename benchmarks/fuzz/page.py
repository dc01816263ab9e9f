"""The page under fire: everything of the app but the model, in whose place a fake makes small clips at once.

python -m benchmarks.fuzz.page DATA --port 7999 [--public]
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from svd_ui.engine import CancelToken
from svd_ui.events import Event
from svd_ui.logs import set_up
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.fakes import FakeEngine

SMALL = 64
"""Pixels and frames at most: what is fuzzed is the page, not an encoder of films."""


class QuickEngine(FakeEngine):
    """Takes any request and writes a small clip for it."""

    def generate(self, request: GenerationRequest, out: Path, cancel: CancelToken) -> Iterator[Event]:
        self.calls.clear()
        size = {"width": SMALL, "height": SMALL, "num_frames": 2, "num_inference_steps": 1}
        yield from super().generate(request.model_copy(update=size), out, cancel)


def settings_of(data: Path, port: int, public: bool) -> Settings:
    limits = {"max_visitor_uploads": 1_000_000, "max_visitor_upload_mb": 1_000_000, "max_visitor_jobs": 1000}
    return Settings(_env_file=None, data_dir=data, port=port, public=public, checkpoint="nano", **limits)


def main(arguments: list[str] | None = None) -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("data", type=Path)
    asked.add_argument("--port", type=int, required=True)
    asked.add_argument("--public", action="store_true")
    given = asked.parse_args(arguments)
    os.environ["GRADIO_TEMP_DIR"] = str(given.data / "uploads")
    from svd_ui.jobs.service import JobService
    from svd_ui.web import serve
    from svd_ui.web.ending import ending_in_order

    settings = settings_of(given.data, given.port, given.public)
    set_up(settings.log_format)
    with ending_in_order(), JobService(settings, QuickEngine(steps=1, delay=0.0, settings=settings)) as jobs:
        jobs.start()
        demo, url = serve(jobs, settings)
        print(url, flush=True)
        try:
            demo.block_thread()
        finally:
            demo.close(verbose=False)


if __name__ == "__main__":
    main()
