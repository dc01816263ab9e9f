"""What a visitor may ask for: so many unfinished jobs, clips that can end in the time they have, weights that are here."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...clip import ClipSpec
from ...errors import BadInput, QueueFull, SvdUiError
from ...request import GenerationRequest
from ..formatting import roughly

if TYPE_CHECKING:
    from ..context import Context
    from ..visitor import Visitor

MOST_WORK = 1024 * 576 * 25 * 50 * 4
"""Pixels x frames x steps of a clip whose time nobody can tell yet: four of the usual ones at twice the steps."""
MOST_ADDRESSES = 10_000
BY_ADDRESS = 3
"""Several people share an address."""


class Admission:
    """Which jobs came from an address is known while the app runs, and written down nowhere."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._of_address: OrderedDict[str, deque[str]] = OrderedDict()

    @contextmanager
    def of(self, visitor: Visitor, wanted: Sequence[GenerationRequest]) -> Iterator[list[str]]:
        """Submit ``wanted`` inside, and append each job's id. Raises QueueFull, NotAllowed or BadInput before anything is."""
        made: list[str] = []
        if visitor.operates:
            yield made
            return
        for request in wanted:
            self._check(request)
        with self._lock:  # of two who ask at once the second counts what the first has got
            self._check_room(visitor, len(wanted))
            try:
                yield made
            finally:
                self._note(visitor.address, made)

    def check(self, visitor: Visitor, request: GenerationRequest) -> None:
        """Another request for a job that is here: it takes no more room. Raises NotAllowed or BadInput."""
        if not visitor.operates:
            self._check(request)

    def _check_room(self, visitor: Visitor, more: int) -> None:
        jobs, most = self._context.jobs, self._context.settings.max_visitor_jobs
        if jobs.unfinished(visitor.owner) + more > most:
            if more > most:
                raise QueueFull(f"At most {most} clips at once here: choose fewer pictures.")
            raise QueueFull(f"You have {most} clips waiting, the most there may be here: wait for one, or stop one.")
        if visitor.address:
            ids = self._of_address.get(visitor.address, ())
            if jobs.unfinished(ids=ids) + more > BY_ADDRESS * most:
                raise QueueFull("Too many clips wait that were asked for from your network: wait for some to finish.")

    def _note(self, address: str, made: list[str]) -> None:
        if address and made:
            self._of_address.setdefault(address, deque(maxlen=1000)).extend(made)
            self._of_address.move_to_end(address)
            while len(self._of_address) > MOST_ADDRESSES:
                self._of_address.popitem(last=False)

    def _check(self, request: GenerationRequest) -> None:
        context, longest = self._context, self._context.settings.max_seconds
        row = context.row(request.checkpoint)
        if not context.present(row):
            raise context.not_allowed(f"download {row.title}")
        if request.image is None and not context.text_to_image_present():
            raise context.not_allowed("download the model that makes pictures from prompts")
        try:
            clip, seconds = ClipSpec.of(request, row), context.jobs.estimate(request).seconds
        except SvdUiError:
            return  # said where it is submitted
        many = len(request.wall.pairs(0)) if request.wall else 1
        work = clip.width * clip.height * clip.num_frames * clip.num_inference_steps * many
        takes = "" if not seconds or seconds <= longest else f" (about {roughly(seconds)})"
        if takes or (not seconds and work > MOST_WORK):
            raise BadInput(
                f"This clip would take too long here{takes}: at most {roughly(float(longest))} are allowed. "
                "Use fewer steps, fewer frames or a smaller size.",
                field="num_inference_steps",
            )
