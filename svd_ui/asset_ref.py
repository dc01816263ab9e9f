"""How a request names a picture: by its content, never by a path."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator


def checked_ref(value: str) -> str:
    """``value``. Raises ValueError where it names no kept picture."""
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", value):
        raise ValueError("pictures are named sha256:<64 hex digits>: upload the file instead of sending a path")
    return value


AssetRef = Annotated[str, AfterValidator(checked_ref)]
"""A picture kept by ``assets.py``, named by its content; never a path."""
