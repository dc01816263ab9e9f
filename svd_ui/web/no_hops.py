"""Values of plain controls reach a handler without a thread for each.

gradio hands every value of every control to a thread of its pool and waits for it, some hundred and twenty times for a press
of *Animate*. With many visitors each of these waits is a turn behind everybody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import anyio
import gradio.blocks
from gradio import components

QUICK = (
    components.BrowserState,
    components.Button,
    components.Checkbox,
    components.ColorPicker,
    components.HTML,
    components.Number,
    components.Radio,
    components.Slider,
    components.Textbox,
    components.Timer,
)
"""What computes next to nothing from a value: no files, no pictures."""


async def _run_sync(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    named = getattr(call, "__name__", "") in ("preprocess", "postprocess")
    if named and isinstance(getattr(call, "__self__", None), QUICK):
        return call(*args)
    return await anyio.to_thread.run_sync(call, *args, **options)


def without_hops() -> None:
    """From now on, in this process; handlers themselves run in threads as before."""
    stand_in = SimpleNamespace(to_thread=SimpleNamespace(run_sync=_run_sync))
    setattr(gradio.blocks, "anyio", stand_in)  # noqa: B010 (mypy takes it for a module)
