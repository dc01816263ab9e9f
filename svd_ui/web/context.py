"""What every part of the page is given: the jobs, the settings, and what follows from both."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from ..accounts import Accounts
from ..assets import Assets
from ..catalog import CheckpointRow, Survey, survey, trouble_of
from ..engine import Device
from ..errors import BadPicture, NotAllowed
from ..finetune.runs import TrainingRuns
from ..hosting import signs_in
from ..hub import Hub
from ..hub.selection import Checkpoints
from ..jobs.rotation import DeviceState
from ..jobs.service import JobService
from ..loras import LoraFile, loras
from ..notes import Note
from ..settings import Settings
from ..text_to_image_info import ignored_fields
from .crowd import Crowd, Lanes
from .guard.admission import Admission
from .guard.watched import follow
from .metrics import LookedUp, Metrics
from .visitor import Visitor, is_public, who

ROWS_SECONDS = 5.0
NOBODY = "Here nobody is, for want of a login: start the app with SVD_UI_AUTH=user:password, and log in."
TRAINING_SECONDS = 1.0
CALLS_EACH = 3
"""Of those behind one address: a large picture or a clip takes a thread for seconds, and all have ten."""
T = TypeVar("T")


@dataclass
class Context:
    """One per app. What lies on disk is looked up at most every few seconds."""

    jobs: JobService
    settings: Settings
    forwarded: bool = False
    """Whether a web server was seen to hand visitors on, though nobody said that there is one (SVD_UI_PUBLIC)."""
    following: Crowd = field(default_factory=lambda: Crowd(0.5, 0.004))
    """Pages on which a clip waits or is made."""
    open_pages: Crowd = field(default_factory=lambda: Crowd(8.0, 0.027))
    """All of them; their form is looked through now and then."""
    calls: Lanes = field(default_factory=lambda: Lanes(CALLS_EACH))
    frames: Lanes = field(default_factory=lambda: Lanes(1))
    """Frames of an uploaded clip that are looked for."""
    _found: dict[str, tuple[float, Any]] = field(default_factory=dict, repr=False)

    @cached_property
    def assets(self) -> Assets:
        return Assets.of(self.settings)

    @cached_property
    def hub(self) -> Hub:
        return Hub(self.settings)

    def survey(self) -> Survey:
        """The catalogue, read again now and then: a folder dropped in shows up without a restart."""
        return self._remember("rows", lambda: survey(self.settings))

    def rows(self) -> dict[str, CheckpointRow]:
        return self.survey().rows

    def row(self, checkpoint: str) -> CheckpointRow:
        """The row that ``checkpoint`` means; ``auto`` and unknown names give the best one present."""
        rows = self.rows()
        if checkpoint in rows:
            return rows[checkpoint]
        return Checkpoints(self.settings, self.hub).resolve("auto", self.device())

    def checkpoint_choices(self, chosen: str = "") -> list[tuple[str, str]]:
        """(title, id) to choose from as things are now: what training writes shows up here.

        What a row of the catalogue stands for here is not offered a second time, unless it is ``chosen`` already.
        """
        rows = self.rows().values()
        stood_for = {row.sources[0] for row in rows if row.sources and self.hub.where(row) == row.sources[0]}
        shown = [row for row in rows if row.path not in stood_for or row.id == chosen]
        ending = {row.id: ", not usable" for row in shown if trouble_of(row) is not None}
        return [("Auto (best one here)", "auto"), *((row.title + ending.get(row.id, ""), row.id) for row in shown)]

    def loras(self) -> dict[str, LoraFile]:
        """The files of models/loras, looked for again now and then like the catalogue."""
        return self._remember("loras", lambda: loras(self.settings))

    def look_again(self) -> None:
        """Forget what was found on disk: something was just written there."""
        self._found.clear()

    def present(self, row: CheckpointRow) -> bool:
        """Whether the weights are on this machine."""
        return self._remember(f"weights of {row.id}", lambda: self.hub.present(row) is not None)

    def trouble(self, row: CheckpointRow) -> Note | None:
        """Why a checkpoint of this machine cannot be used, and what to do; None where it can, or is not here at all."""
        return None if self.present(row) or not (row.path or row.sources) else self.hub.trouble(row)

    def text_to_image_present(self) -> bool:
        """Whether the model that makes stills is on this machine."""
        return self._remember("text-to-image", lambda: self.hub.text_to_image_path() is not None)

    def ignored_by_stills(self) -> dict[str, str]:
        """Request field => why the model that makes stills takes no notice of it; empty while it is not here."""
        folder = self.hub.text_to_image_path() if self.text_to_image_present() else None
        return ignored_fields(folder) if folder else {}

    def training(self) -> str:
        """The name of a fine-tuning run that works now, and holds the device that clips wait for; '' when none does."""

        def look() -> str:
            runs = TrainingRuns(self.settings).all()
            return next((run.name for run in runs if run.alive and run.status.works), "")

        return self._remember("training", look, TRAINING_SECONDS)

    @property
    def remote(self) -> bool:
        """Whether visitors may be strangers, who are not told about the server's folders."""
        return self.forwarded or is_public(self.settings)

    @property
    def may_operate(self) -> bool:
        """Whether anybody can be the operator on this page; on one that strangers reach without a login nobody is."""
        return not self.remote or self.settings.has_login or signs_in()

    @cached_property
    def accounts(self) -> Accounts:
        return Accounts(self.settings.accounts_file)

    @cached_property
    def admission(self) -> Admission:
        return Admission(self)

    @cached_property
    def metrics(self) -> Metrics:
        """What this app tells whoever watches it; it hears of jobs from the first look on."""
        metrics = Metrics()
        metrics.registry.register(LookedUp(self, metrics))
        self.jobs.meters.append(metrics)
        return metrics

    def who(self, request: Any, token: str | None = None) -> Visitor:
        """The visitor behind a page event (``gr.Request``), or a call of the API with its ``token``."""
        follow(getattr(request, "request", None))
        return who(self.settings, self.accounts, request, token)

    def asker(self, request: Any) -> str:
        """For whom calls that last are counted (``Lanes``): an address, a visitor where it tells nothing; blank for the operator."""
        visitor = self.who(request)
        return "" if visitor.operates else visitor.address or visitor.owner

    def lane(self, request: Any) -> AbstractAsyncContextManager[None]:
        """To be held while a call is under way; one within another might wait for ever."""
        return self.calls.of(self.asker(request))

    def require_operator(self, request: Any, what: str) -> None:
        """Raises NotAllowed for everybody else; ``what`` goes on after "may"."""
        if not self.who(request).operates:
            raise self.not_allowed(what)

    def not_allowed(self, what: str) -> NotAllowed:
        """Where nobody can be the operator, how to become it."""
        return NotAllowed(what) if self.may_operate else NotAllowed(what, NOBODY)

    def work(self, request: Any, token: str | None = None) -> None:
        """Run what waits of whoever asks, in this thread; ends with it. Only where jobs run in events."""
        for _ in self.jobs.run_waiting(self.who(request, token).owner):
            pass

    def device(self) -> Device | None:
        return self.jobs.describe()

    def devices(self) -> tuple[DeviceState, ...]:
        """All of them, and what each does now."""
        return self.jobs.devices()

    def _remember(self, key: str, look: Callable[[], T], seconds: float = ROWS_SECONDS) -> T:
        """What ``look`` finds, or found within the last ``seconds``."""
        when, value = self._found.get(key, (-math.inf, None))
        if time.monotonic() - when > seconds:
            value = look()
            self._found[key] = (time.monotonic(), value)
        return value  # type: ignore[no-any-return]


def uploaded(path: str) -> Path:
    """``path`` if gradio's own upload folder holds it; anything else a client may have named is refused."""
    from gradio.utils import get_upload_folder

    root = Path(get_upload_folder()).resolve()
    file = Path(path).resolve()
    if file.is_relative_to(root) and not file.exists():  # uploads that became nothing are swept after a day
        raise BadPicture("The upload is gone: add the file again.", field="image")
    if not file.is_relative_to(root) or not file.is_file():
        raise BadPicture("Upload the file: paths on the server are not read.")
    return file
