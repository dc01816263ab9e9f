"""The page and the HTTP API: a view over ``jobs.Jobs``. Importing this package is cheap; gradio comes with the first call."""

from __future__ import annotations

from .app import build_ui, launch, serve

__all__ = ["build_ui", "launch", "serve"]
