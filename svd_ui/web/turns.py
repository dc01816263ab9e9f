"""Handlers of the page take turns, so that what programs ask in between is answered at once.

gradio begins every call as it comes and does its share of each in the one loop that answers everybody: a hundred calls at
once are a hundred steps between two steps of anything else. A few at a time, they take no longer all together.
"""

from __future__ import annotations

import asyncio
from typing import Any

from .variants import Variants

AT_ONCE = 2
"""Quick handlers under way; what lasts comes through gradio's queue, which has limits of its own."""


class Turns(Variants):
    """A page whose quick handlers (``queue=False``) wait for one another."""

    async def process_api(self, block_fn: Any, *args: Any, **named: Any) -> dict[str, Any]:
        function = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        if function.queue:
            return await super().process_api(function, *args, **named)
        async with self._turns():
            return await super().process_api(function, *args, **named)

    def _turns(self) -> asyncio.Semaphore:
        """Of the loop that serves; made there, since a page is built before it."""
        if not hasattr(self, "_waiting"):
            self._waiting = asyncio.Semaphore(AT_ONCE)
        return self._waiting
