"""Post steps by kind: ``svd_ui/post/<kind>.py`` with ``apply(clip, step) -> clip``."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from ..request import PostStep
from .output import Frames


def apply(clip: Frames, step: PostStep) -> Frames:
    """``clip`` uint8 ``[F H W 3]`` after ``step``; number and size of its frames may change."""
    return cast(Frames, import_module(f"svd_ui.post.{step.kind}").apply(clip, step))
