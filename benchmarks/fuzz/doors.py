"""Files that come from a disk, each through the door that the app has for it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from svd_ui.errors import SvdUiError
from svd_ui.settings import Settings

from .serving import peak_bytes
from .watch import TRACE


@dataclass(frozen=True)
class Passed:
    """``said`` is the sentence of a refusal, blank where the file was taken; ``fault`` what should never be."""

    door: str
    said: str
    fault: str
    seconds: float
    peak_bytes: int | None


def _queue(path: Path, settings: Settings) -> None:
    from svd_ui.jobs import bundle

    bundle.read(path, settings)


def _settings(path: Path, settings: Settings) -> None:
    from svd_ui.settings_tag import open_settings

    open_settings(path)


def _lora(path: Path, settings: Settings) -> None:
    from svd_ui.loras import find, loras
    from svd_ui.request import LoraRef

    for name in loras(settings):
        find(settings, LoraRef(name=name))


def _checkpoint(path: Path, settings: Settings) -> None:
    from svd_ui.catalog import survey
    from svd_ui.hub import Hub

    hub = Hub(settings)
    for row in survey(settings).rows.values():
        hub.present(row)


def _preset(path: Path, settings: Settings) -> None:
    from svd_ui.presets import presets

    presets.cache_clear()
    presets(path.parent)


def _clips(path: Path, settings: Settings) -> None:
    from svd_ui.clips import scan

    scan(path.parent, width=64, height=64, num_frames=4)


@dataclass(frozen=True)
class Door:
    """Where a file is put before it is looked at, as ``place`` of the data folder, and who looks."""

    place: str
    look: Callable[[Path, Settings], None]


DOORS = {
    "queue": Door("incoming/queue.zip", _queue),
    "settings": Door("incoming/settings.{ending}", _settings),
    "lora": Door("models/loras/hostile.safetensors", _lora),
    "checkpoint": Door("models/hostile/unet/diffusion_pytorch_model.safetensors", _checkpoint),
    "preset": Door("presets/hostile.json", _preset),
    "clips": Door("clips/hostile.{ending}", _clips),
}


def through(door: str, data: bytes, settings: Settings, ending: str = "mp4") -> Passed:
    """What becomes of ``data`` behind ``door``; nothing of it stays where others are looked for."""
    where = DOORS[door]
    path = settings.data_dir / where.place.format(ending=ending)
    path.parent.mkdir(parents=True, exist_ok=True)
    if door == "checkpoint":
        (path.parent / "config.json").write_bytes(data[8:] if data[:1] != b"<" else b"{}")
        (path.parent.parent / "model_index.json").write_text('{"_class_name": "StableVideoDiffusionPipeline"}', "ascii")
    path.write_bytes(data)
    said = fault = ""
    begun = time.monotonic()
    try:
        where.look(path, settings)
    except SvdUiError as error:
        said = error.message
        fault = f"no sentence: {said[:300]}" if not _is_sentence(said) else ""
    except Exception:
        fault = traceback.format_exc(limit=-6)
    finally:
        path.unlink(missing_ok=True)
    return Passed(door, said, fault, time.monotonic() - begun, peak_bytes())


def _is_sentence(text: str) -> bool:
    return 10 < len(text) < 700 and TRACE.search(text) is None and "object at 0x" not in text
