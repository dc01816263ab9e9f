"""Archives whose packed bytes are damaged, in every way of packing: one sentence behind either door."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import pytest

from svd_ui.errors import BadInput
from svd_ui.jobs import bundle
from svd_ui.settings import Settings
from svd_ui.settings_tag import open_settings

TEXT = "".join(f'{{"jobs": [{number}], "svd_ui": 1}}' for number in range(400))


def damaged(name: str, packed: int, at: int) -> bytes:
    """An archive with one file, some of whose packed bytes are others."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, TEXT, packed)
    data = bytearray(buffer.getvalue())
    begin = 30 + len(name) + at
    data[begin : begin + 30] = b"\xff" * 30
    return bytes(data)


@pytest.mark.parametrize("at", [0, 5, 12, 40])
@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize(
    ("name", "door"), [("queue.json", bundle.read), ("settings.json", lambda data, _: open_settings(data))]
)
def test_damaged_bytes_are_a_sentence(
    name: str, door: Callable[[bytes, Settings], object], packed: int, at: int, settings: Settings
) -> None:
    with pytest.raises(BadInput) as caught:
        door(damaged(name, packed, at), settings)
    assert "this file" in caught.value.message or "queue file" in caught.value.message
