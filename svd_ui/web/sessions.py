"""What gradio keeps for each open page: what differs from the page as it is built, and nothing else.

gradio copies the whole page's configuration, which only its deep links read: 20 ms and some 300 kB for every page that is opened
and for every call of the API, mended with each value that a page sends. Nothing here makes deep links. It copies the lists of
controls and handlers as well, 50 kB, of which a page changes some controls.
"""

from __future__ import annotations

from collections import ChainMap
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import gradio.blocks
import gradio.route_utils
import gradio.state_holder
from gradio.blocks import BlocksConfig
from gradio.components import State
from gradio.state_holder import SessionState

if TYPE_CHECKING:
    from gradio.blocks import Block, Blocks


class LightSession(SessionState):
    """A session without ``config_values``, over the page's own controls."""

    def __init__(self, blocks: Blocks) -> None:
        built = blocks.default_config
        self.blocks_config = BlocksConfig(blocks)
        self.blocks_config.blocks = cast("dict[int, Block]", ChainMap({}, built.blocks))
        self.blocks_config.fns, self.blocks_config.fn_id = built.fns, built.fn_id
        self.config_values = {}
        self.state_data: dict[int, Any] = {}
        self._state_ttl = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = 3600

    def __setitem__(self, key: int, value: Any) -> None:
        block = self.blocks_config.blocks.get(key)
        if isinstance(block, State):
            self._state_ttl[key] = (block.time_to_live, datetime.now())
            self.state_data[key] = value
        else:
            self.blocks_config.blocks[key] = value

    def _update_config(self, key: int) -> None:
        """Nobody reads it."""

    def _update_value_in_config(self, key: int, value: Any) -> None:
        """Nobody reads it."""


def use_light_sessions() -> None:
    """From now on, in this process. The name is looked up whenever a session is made."""
    for module in (gradio.state_holder, gradio.blocks, gradio.route_utils):
        setattr(module, "SessionState", LightSession)  # noqa: B010 (mypy takes it for a class that is assigned to)
