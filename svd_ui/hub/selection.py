"""Which checkpoint a request means."""

from __future__ import annotations

from typing import Protocol

from ..catalog import CheckpointRow, checkpoints, find_checkpoint
from ..settings import Settings
from . import Hub

SMALLEST_DEVICE = 3_500_000_000  # bytes; the 4gb profile needs 2.4 GiB and the display its share


class HasMemory(Protocol):
    """What is asked of a device; ``engine.Device`` is one."""

    @property
    def kind(self) -> str: ...

    @property
    def total_bytes(self) -> int | None: ...


class Checkpoints:
    """The checkpoints of an installation, and what ``auto`` means among them."""

    def __init__(self, settings: Settings, hub: Hub) -> None:
        self._settings, self._hub = settings, hub

    def rows(self) -> dict[str, CheckpointRow]:
        """All of them by id, read anew: a folder may have been dropped in."""
        return checkpoints(self._settings)

    def find(self, id: str) -> CheckpointRow:
        """The row named ``id``. Raises BadInput with the known names; ``auto`` is none."""
        return find_checkpoint(self._settings, id)

    def resolve(self, id: str, device: HasMemory | None) -> CheckpointRow:
        """The row that ``id`` means on ``device``, a CPU where that is None. Raises what ``find`` raises.

        ``auto`` is what the settings name, else the best one present that fits the device. On a CPU, and on devices
        under ``SMALLEST_DEVICE``, nano goes first. Where nothing is present the row to download.
        """
        named = self._settings.checkpoint if id == "auto" else id
        if named != "auto":
            return self.find(named)
        rows = self.rows()
        ranked = sorted(rows.values(), key=lambda row: (row.id != "nano", row.rank), reverse=True)
        wanted = sorted(ranked, key=lambda row: row.id != "nano") if _is_small(device) else ranked
        present = next((row for row in wanted if self._hub.present(row)), None)
        return present or next(row for row in ranked if not row.gated)


def _is_small(device: HasMemory | None) -> bool:
    if device is None or device.kind == "cpu":
        return True
    return device.total_bytes is not None and device.total_bytes < SMALLEST_DEVICE
