"""The page as gradio serves it, but that handlers take turns, and that a control in one shape is one object.

gradio begins every call as it comes and does its share of each in the one loop that answers everybody: a hundred calls at
once are a hundred steps between two steps of anything else. A few at a time, they take no longer all together.

It makes a new component of each update, a quarter of a millisecond and 3 kB, and keeps it for the page it went to: a press of
*Animate* changes a hundred, and two hundred pages kept thirty thousand that were all alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any
from weakref import WeakValueDictionary

import gradio as gr
from gradio import utils
from gradio.blocks import Block, convert_component_dict_to_list, postprocess_update_dict
from gradio.components import _Keywords
from gradio.processing_utils import async_move_files_to_cache

from .no_hops import QUICK

NOT_ARGUMENTS = frozenset({"value", "__type__"})
AT_ONCE, TURN_SECONDS = 2, 0.25
"""Quick handlers under way, and how long one keeps its turn: what lasts longer, a large picture say, holds up nobody but who asked for it. What lasts
long comes through gradio's queue, which has limits of its own.
"""


class Variants(gr.Blocks):
    """A page whose controls in one shape are one object, shared by all that show them so."""

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        """As gradio's, but for updates (``gr.update``) of what keeps no state; gradio is told to leave those out."""
        outputs = block_fn.outputs
        told = _listed(outputs, predictions)
        if state is None or block_fn.batch or len(told) != len(outputs):
            return await super().postprocess_data(block_fn, predictions, state)
        updates = {at: said for at, said in enumerate(told) if not outputs[at].stateful and _is_update(said)}
        rest: Any = [_Keywords.FINISHED_ITERATING if at in updates else said for at, said in enumerate(told)]
        answer = await super().postprocess_data(block_fn, rest[0] if len(rest) == 1 else rest, state)
        for at, said in updates.items():
            answer[at] = await self._updated(outputs[at], said, state, block_fn.postprocess)
        return answer

    async def _updated(self, block: Any, told: Mapping[str, Any], state: Any, postprocess: bool) -> Any:
        said = utils.delete_none(dict(told), skip_value=True)
        now = state.get(block._id, block)
        part = self._variant(block._id, now, {name: said[name] for name in said.keys() - NOT_ARGUMENTS})
        if part is not now:
            state[block._id] = part
        answer = postprocess_update_dict(block=part, update_dict=said, postprocess=postprocess)
        if isinstance(block, QUICK) or "value" not in answer:
            return answer
        return await async_move_files_to_cache(answer, block, postprocess=True)

    def _variant(self, id: int, part: Any, changes: Mapping[str, Any]) -> Any:
        """``part`` with ``changes``: itself where they are none, or the one that somebody shows already."""
        known = part.constructor_args
        if all(name in known and known[name] == value for name, value in changes.items()):
            return part
        args = {**known, **changes, "render": False}
        args.pop("value", None)
        key = id, repr(sorted(args.items()))
        found = self._shown.get(key)
        if found is None:
            found = self._shown[key] = type(part)(**args)
        return found

    @property
    def _shown(self) -> WeakValueDictionary[tuple[int, str], Block]:
        if not hasattr(self, "_variants"):
            self._variants: WeakValueDictionary[tuple[int, str], Block] = WeakValueDictionary()
        return self._variants


def _listed(outputs: list[Any], predictions: Any) -> list[Any]:
    """What a handler returned, one for each of ``outputs``, as gradio takes it."""
    if isinstance(predictions, dict) and predictions:
        if len(outputs) > 1 and predictions == gr.skip():
            return [gr.skip() for _ in outputs]
        predictions = convert_component_dict_to_list(outputs, predictions)
    if len(outputs) == 1:
        return [predictions]
    return list(predictions) if isinstance(predictions, list | tuple) else []


def _is_update(said: Any) -> bool:
    return isinstance(said, dict) and "update" in said.get("__type__", "")


class Turns(Variants):
    """A page whose quick handlers (``queue=False``) wait for one another; what ``lane`` gives for a request is held meanwhile."""

    lane: Callable[[Any], AbstractAsyncContextManager[None]] = staticmethod(lambda request: nullcontext())

    async def process_api(self, block_fn: Any, *args: Any, **named: Any) -> dict[str, Any]:
        function = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        if function.queue:
            return await super().process_api(function, *args, **named)
        async with self.lane(named.get("request")):
            return await self._in_turn(function, *args, **named)

    async def _in_turn(self, function: Any, *args: Any, **named: Any) -> dict[str, Any]:
        async with self._turns():
            call = asyncio.ensure_future(super().process_api(function, *args, **named))
            try:
                await asyncio.wait({call}, timeout=TURN_SECONDS)
            except asyncio.CancelledError:
                call.cancel()
                raise
        return await call

    def _turns(self) -> asyncio.Semaphore:
        """Of the loop that serves; made there, since a page is built before it."""
        if not hasattr(self, "_waiting"):
            self._waiting = asyncio.Semaphore(AT_ONCE)
        return self._waiting
