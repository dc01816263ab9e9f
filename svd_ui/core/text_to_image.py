"""A prompt => the first frame, through any diffusers text-to-image folder."""

from __future__ import annotations

import inspect
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..clip import ClipSpec
from ..errors import BadInput, Cancelled, NotFinite, WeightsMissing
from ..events import CancelToken
from ..settings import Settings
from ..text_to_image_info import StillModel
from .decode import is_flat
from .devices import Plan
from .offload import trim
from .sampling.samplers import seeded

Progress = tuple[int, int]


def generate(
    settings: Settings, folder: Path, clip: ClipSpec, plan: Plan, cancel: CancelToken
) -> Iterator[Progress | Image.Image]:
    """Yield (step, total) after each step, then the picture of the clip's prompt at its width and height.

    The pipeline lives only while one is made, because the clip needs the memory next. The model draws at its own
    native area in that aspect; the picture is resized with Lanczos. One of a single colour is what numbers that overflowed leave:
    it is made again in float32. Raises Cancelled within one step, WeightsMissing or BadInput where the folder cannot be used,
    NotFinite where there is no picture in float32 either.
    """
    model = read_model(folder, settings.text_to_image)
    if cancel.is_set():
        raise Cancelled()
    for dtype in dict.fromkeys([plan.module_dtype("text_to_image"), torch.float32]):
        pipeline = load_pipeline(folder, model, plan, dtype)
        try:
            thread = _PipelineThread(pipeline, call_arguments(model, clip), cancel)
            yield from thread.steps()
        finally:
            del pipeline
            trim()
        if not is_flat(np.asarray(thread.picture)[None]):
            yield thread.picture.resize((clip.width, clip.height), Image.Resampling.LANCZOS)
            return
    raise NotFinite(doing="making the picture", remedy="Try other words: its safety check also blanks pictures.")


def read_model(folder: Path, title: str) -> StillModel:
    """Raises WeightsMissing where ``folder`` is not a diffusers folder."""
    try:
        return StillModel.read(folder)
    except (OSError, ValueError, StopIteration) as error:
        remedy = "Download it, or set SVD_UI_TEXT_TO_IMAGE to a diffusers folder."
        raise WeightsMissing(title=title, remedy=remedy) from error


def call_arguments(model: StillModel, clip: ClipSpec) -> dict[str, Any]:
    """What the pipeline is called with, before it is cut down to what it accepts."""
    width, height = model.size_for(clip.width, clip.height)
    arguments = {
        "prompt": clip.request.prompt,
        "width": width,
        "height": height,
        "num_inference_steps": model.steps,
        "generator": seeded(clip.seed),
    }
    if model.distilled:
        return {**arguments, "guidance_scale": 0.0}
    return {**arguments, "negative_prompt": clip.request.negative_prompt}


def load_pipeline(folder: Path, model: StillModel, plan: Plan, dtype: torch.dtype) -> Any:
    """The pipeline on the plan's device in ``dtype``: safetensors only, offloaded where the plan offloads."""
    from diffusers.pipelines.auto_pipeline import AutoPipelineForText2Image

    try:
        pipeline = AutoPipelineForText2Image.from_pretrained(
            folder, dtype=dtype, variant=model.variant, use_safetensors=True, local_files_only=True
        )
    except ValueError as error:
        raise BadInput(f"{model.pipeline} does not make pictures from text. Set SVD_UI_TEXT_TO_IMAGE.") from error
    pipeline.set_progress_bar_config(disable=True)
    if plan.profile.offload == "none":
        return pipeline.to(plan.device)
    pipeline.enable_model_cpu_offload(device=plan.device)
    return pipeline


class _PipelineThread:
    """One call of a pipeline, turned inside out: it runs in a thread and its steps are yielded here.

    The pipelines only offer a callback. Raising in it is the one way all of them can be stopped.
    """

    def __init__(self, pipeline: Any, arguments: dict[str, Any], cancel: CancelToken) -> None:
        accepted = inspect.signature(pipeline.__call__).parameters
        self._pipeline, self._cancel = pipeline, cancel
        offered = {**arguments, "callback_on_step_end": self._after_step}
        self._arguments = {name: value for name, value in offered.items() if name in accepted}
        self._total = int(arguments["num_inference_steps"])
        self._abandoned = threading.Event()
        self._done: queue.SimpleQueue[Progress | Image.Image | BaseException] = queue.SimpleQueue()
        self.picture: Image.Image

    def steps(self) -> Iterator[Progress]:
        """(step, total) as they come; afterwards ``picture`` is set. Raises what the pipeline raised."""
        thread = threading.Thread(target=self._run, name="make-still", daemon=True)
        thread.start()
        try:
            while not isinstance(item := self._done.get(), Image.Image):
                if isinstance(item, BaseException):
                    raise item
                yield item
                if self._cancel.is_set():  # the thread may be steps ahead, or done
                    raise Cancelled()
            self.picture = item
        finally:
            self._abandoned.set()
            thread.join()
            del self._pipeline

    def _run(self) -> None:
        try:
            output = self._pipeline(**self._arguments)
            self._done.put(output.images[0].convert("RGB"))
        except BaseException as error:
            self._done.put(error)

    def _after_step(self, _: Any, step: int, __: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if self._cancel.is_set() or self._abandoned.is_set():
            raise Cancelled()
        self._done.put((step + 1, self._total))
        return tensors
