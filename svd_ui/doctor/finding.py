"""What ``doctor`` finds, and in what: a record each. No torch.

A finding is a code and its parameters; its three sentences (what is wrong, why it matters, what to do) are
``locale/en.json``'s. ``wrong`` ones keep something from working, the others are worth knowing.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..engine import Device
from ..errors import without_secrets
from ..hub import Hub
from ..jobs.rotation import DeviceState
from ..notes import WORDS
from ..settings import Settings

WORD = WORDS["findings"]
PYTHON = subprocess.list2cmdline([sys.executable]) if os.name == "nt" else shlex.quote(sys.executable)


@dataclass(frozen=True)
class Finding:
    """``repair`` names what ``doctor --fix`` does about it, where it can do something."""

    code: str
    params: dict[str, Any] = field(default_factory=dict)
    wrong: bool = True
    repair: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON for people and programs."""
        return {
            "code": self.code,
            "wrong": self.wrong,
            **{part: self._words(part) for part in ("what", "why", "do")},
            "fixable": bool(self.repair),
        }

    def _words(self, part: str) -> str:
        text = WORD[self.code][part].format_map({"python": PYTHON, **self.params})
        home = re.escape(str(Path.home()) + os.sep)
        return re.sub(rf"(?<![\w'\"]){home}", lambda _: f"~{os.sep}", without_secrets(text))


@dataclass(frozen=True)
class Patient:
    """What is examined: settings as far as they can be used, what was wrong with the rest, and what workers say.

    ``device`` is the first that can be used, ``trouble`` says why none can.
    """

    settings: Settings
    faults: dict[str, str]
    hub: Hub
    device: Device | None
    trouble: str
    devices: tuple[DeviceState, ...] = ()


Check = Callable[[Patient], Iterator[Finding]]
