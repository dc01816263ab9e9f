"""Messages where they belong: under the field at fault, or above the Animate button."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from ..errors import BadInput, SvdUiError
from .form import Form


def notice(text: str, good: bool = False) -> str:
    """The line above Animate; '' clears it."""
    if not text:
        return ""
    return f'<p class="notice {"good" if good else "bad"}" role="{"status" if good else "alert"}">{escape(text)}</p>'


def field_of(error: SvdUiError | None, form: Form) -> str | None:
    """The control an error belongs to, if it has one that can show it."""
    field = error.field if isinstance(error, BadInput) else None
    return field if field in form.checked else None


def field_updates(error: SvdUiError | None, form: Form) -> tuple[Any, ...]:
    """Updates of ``form.checked``: the message on the field at fault, the usual help on all others."""
    wrong = field_of(error, form)
    return tuple(_update(form, name, error.message if error and name == wrong else None) for name in form.checked)


def _update(form: Form, name: str, message: str | None) -> Any:
    help_text, classes = form.helps[name]
    if message is None:
        return gr.update(info=help_text, elem_classes=classes)
    return gr.update(info=message, elem_classes=[*classes, "invalid"])
