"""Types of the methods' fields: texts that are checked where they enter, and the widgets that edit them on the page."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, JsonValue

from . import camera, marks


def _camera(text: str) -> str:
    camera.read(text)
    return text


def _strokes(text: str) -> str:
    marks.read_strokes(text)
    return text


def _arrows(text: str) -> str:
    marks.read_arrows(text)
    return text


def _box(text: str) -> str:
    marks.read_box(text)
    return text


CameraText = Annotated[str, AfterValidator(_camera)]
"""A camera's path, as ``steering.camera.read`` reads it."""
StrokesText = Annotated[str, AfterValidator(_strokes)]
"""Strokes of a brush, as ``steering.marks.read_strokes`` reads them."""
ArrowsText = Annotated[str, AfterValidator(_arrows)]
"""Arrows, as ``steering.marks.read_arrows`` reads them."""
BoxText = Annotated[str, AfterValidator(_box)]
"""A box, as ``steering.marks.read_box`` reads it."""


def widget(name: str) -> dict[str, JsonValue]:
    """What edits a field on the page: ``camera``, ``strokes``, ``arrows``, ``box``, ``picture``, ``pictures``."""
    return {"widget": name}


def camera_field(description: str, default: str = "") -> Any:
    """A camera's path beside what else a method does."""
    return Field(default, max_length=2000, title="Camera", description=description, json_schema_extra=widget("camera"))


def strokes_field(title: str, description: str) -> Any:
    """Something painted on the still."""
    return Field(
        "", max_length=marks.MOST_TEXT, title=title, description=description, json_schema_extra=widget("strokes")
    )


def picture_field(title: str, description: str) -> Any:
    """Another picture of the request; None for none."""
    return Field(None, title=title, description=description, json_schema_extra=widget("picture"))
