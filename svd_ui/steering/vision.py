"""OpenCV, imported when it is first needed; its type stubs lack what is used here, so it comes as Any."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def opencv() -> Any:
    """The module ``cv2``."""
    return import_module("cv2")
