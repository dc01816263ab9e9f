"""The page and the HTTP API: a view over ``JobService``. Importing this package is cheap; gradio comes with the first call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .app import launch, serve

if TYPE_CHECKING:
    import gradio as gr

    from ..jobs.service import JobService
    from ..settings import Settings

__all__ = ["build_ui", "launch", "serve"]


def build_ui(jobs: JobService, settings: Settings) -> gr.Blocks:
    """The page over ``jobs``, not yet served."""
    from .app import prepare

    prepare(settings)
    from .animate.layout import build_ui as build

    return build(jobs, settings)
