"""Which checkpoint ``auto`` means."""

from __future__ import annotations

from pathlib import Path

import pytest

from svd_ui.catalog import CheckpointRow, checkpoints
from svd_ui.engine import Device
from svd_ui.errors import BadInput
from svd_ui.hub import Hub
from svd_ui.hub.selection import Checkpoints
from svd_ui.settings import Settings


def resolved(settings: Settings, present: tuple[str, ...], kind: str, memory: int | None, id: str = "auto") -> str:
    device = Device(kind=kind, name="a device", total_bytes=memory)
    return Checkpoints(settings, Stocked(settings, *present)).resolve(id, device).id


class Stocked(Hub):
    """A hub on which the named checkpoints are present."""

    def __init__(self, settings: Settings, *ids: str) -> None:
        super().__init__(settings)
        self.ids = ids

    def present(self, row: CheckpointRow) -> Path | None:
        return Path(row.id) if row.id in self.ids else None


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, checkpoint="auto")


@pytest.mark.parametrize(
    ("present", "kind", "memory", "expected"),
    [
        (("svd", "svd-xt"), "cuda", 24_000_000_000, "svd-xt"),
        (("svd", "svd-xt", "svd-xt-1-1"), "cuda", 4_200_000_000, "svd-xt-1-1"),
        (("svd-xt",), "cpu", None, "svd-xt"),
        (("svd-xt",), "mps", None, "svd-xt"),
        ((), "cuda", 24_000_000_000, "svd-xt"),
    ],
)
def test_auto_is_the_best_present(
    settings: Settings, present: tuple[str, ...], kind: str, memory: int | None, expected: str
) -> None:
    assert resolved(settings, present, kind, memory) == expected


def test_a_cpu_and_a_tiny_gpu_prefer_nano(settings: Settings) -> None:
    if "nano" not in checkpoints(settings):
        pytest.skip("assets/nano is not in this checkout")
    both = ("nano", "svd-xt")
    assert resolved(settings, both, "cpu", None) == "nano"
    assert resolved(settings, both, "cuda", 2_000_000_000) == "nano"
    assert resolved(settings, both, "cuda", 8_000_000_000) == "svd-xt"
    assert Checkpoints(settings, Stocked(settings, *both)).resolve("auto", None).id == "nano"


def test_the_setting_wins(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, checkpoint="svd")
    assert resolved(settings, ("svd-xt",), "cuda", 24_000_000_000) == "svd"


def test_a_name_means_itself_and_one_that_nobody_knows_is_refused(settings: Settings) -> None:
    assert resolved(settings, ("svd-xt",), "cpu", None, id="svd") == "svd"
    with pytest.raises(BadInput, match="no-such"):
        resolved(settings, ("svd-xt",), "cpu", None, id="no-such")
