"""Post steps at work: frames go in as they are decoded and come out in a thread of their own, a few at a time."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..clip import ClipShape
from ..errors import Cancelled, PluginFailed, StepRanOut, SvdUiError
from ..events import CancelToken, PostProcessing
from ..post import POST, Frames, FrameStream, PostContext, PostParams
from .error_mapping import out_of_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

WAITING = 2
"""Frames between the decoder and the first step: few, since a step may be slower than decoding for all of the clip."""
POLL_SECONDS = 0.1


class PostPipeline:
    """``steps`` chained, the last one's frames given to ``take``. A context manager; leaving it early stops the steps.

    Errors of a step leave ``put`` and ``finish`` as StepRanOut or PluginFailed, those of ``take`` as they are.
    """

    def __init__(
        self,
        steps: Sequence[PostParams],
        shape: ClipShape,
        take: Callable[[Frames], None],
        cancel: CancelToken,
        *,
        still: Image.Image,
        latents: Any,
        device: str,
    ) -> None:
        self._steps, self._shape, self._take, self._cancel = steps, shape, take, cancel
        self._about: dict[str, Any] = {"still": still, "latents": latents, "device": device}
        self._frames: queue.Queue[Frames | None] = queue.Queue(WAITING)
        self._progress: PostProcessing | None = None
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="svd-ui-post", daemon=True)

    def __enter__(self) -> PostPipeline:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def put(self, frames: Frames) -> Iterator[PostProcessing]:
        """Hand ``frames`` [f H W 3] over one by one; yields how far the steps are while they are behind.

        Each is copied: a view would keep all that were decoded with it.
        """
        for index in range(len(frames)):
            yield from self._put(frames[index : index + 1].copy())

    def finish(self) -> Iterator[PostProcessing]:
        """After the last frames: yields how far the steps are until they are done."""
        yield from self._put(None)
        while self._thread.is_alive():
            self._thread.join(POLL_SECONDS)
            yield from self._news()
        self._raise()

    def _put(self, frame: Frames | None) -> Iterator[PostProcessing]:
        while self._thread.is_alive():  # steps may end before the frames do
            try:
                self._frames.put(frame, timeout=POLL_SECONDS)
                return
            except queue.Full:
                yield from self._news()
        self._raise()

    def _news(self) -> Iterator[PostProcessing]:
        if self._cancel.is_set():
            raise Cancelled()
        news, self._progress = self._progress, None
        if news is not None:
            yield news

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        import torch

        try:
            with torch.no_grad():
                for frames in self._chained():
                    self._take(frames)
        except BaseException as error:
            self._error = error

    def _chained(self) -> FrameStream:
        stream, shape = self._incoming(), self._shape
        for index, step in enumerate(self._steps):
            stream, shape = self._guarded(index, step, stream, shape), step.changes(shape)
        return stream

    def _incoming(self) -> FrameStream:
        while not self._stop.is_set():
            try:
                frame = self._frames.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if frame is None:
                return
            yield frame
        raise Cancelled()

    def _guarded(self, index: int, step: PostParams, frames: FrameStream, shape: ClipShape) -> FrameStream:
        """``step``'s frames, counted; what it raises says which step it was."""
        total, done = step.changes(shape).num_frames, 0

        def progress(done: int, total: int) -> None:
            if self._stop.is_set() or self._cancel.is_set():
                raise Cancelled()
            self._progress = PostProcessing(step=step.title(), done=done, total=total)

        context = PostContext(shape=shape, cancel=self._cancel, progress=progress, **self._about)
        try:
            for part in step.apply(frames, context):
                done += len(part)
                progress(min(done, total), total)
                yield part
        except SvdUiError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise StepRanOut(name=step.title(), index=index) from None
            log.error("in %s", step.title(), exc_info=error)
            raise _fault(step, type(error).__name__) from error
        if not done:
            raise _fault(step, "it gave no frames")


def _fault(step: PostParams, detail: str) -> PluginFailed:
    return PluginFailed(name=step.title(), package=POST.origin(step.kind) or "SVD UI", detail=detail)
