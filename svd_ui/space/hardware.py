"""What a Space can run on, as rows: which PyTorch fits, which Python, what is set where nobody says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..errors import BadInput

WHEELS = "https://download.pytorch.org/whl"
ZERO_TORCH = ("2.8.0", "2.9.1", "2.10.0", "2.11.0")
"""What ZeroGPU takes, by its documentation (huggingface.co/docs/hub/spaces-zerogpu, August 2026)."""


@dataclass(frozen=True)
class Hardware:
    """``flavour`` is the platform's own name of it, ``torch`` the version where it is not the app's own, ``wheels`` the index
    that has its build; ``packages`` are Debian's.
    """

    id: str
    flavour: str
    title: str
    kind: Literal["cpu", "cuda", "zero"]
    python: str = "3.12"
    torch: str = ""
    wheels: str = ""
    packages: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def gpu(self) -> bool:
        return self.kind != "cpu"


def _cpu(id: str, title: str) -> Hardware:
    limits = {"SVD_UI_DEVICES": "cpu", "SVD_UI_MAX_SECONDS": "900", "SVD_UI_MAX_VISITOR_JOBS": "4"}
    return Hardware(id, id, title, "cpu", wheels="cpu", settings=limits)


def _cuda(id: str, title: str) -> Hardware:
    """CUDA 12.6 takes drivers from 525 on; Triton compiles a small launcher with the C compiler."""
    return Hardware(id, id, title, "cuda", wheels="cu126", packages=("gcc", "libc6-dev"))


ZERO = Hardware(
    "zero-gpu",
    "zero-a10g",
    "ZeroGPU: a GPU is lent for each clip",
    "zero",
    python="3.12.12",
    torch=ZERO_TORCH[-1],
    settings={"SVD_UI_ATTENTION": "sdpa", "SVD_UI_COMPILE": "off", "SVD_UI_MAX_SECONDS": "300"},
)
HARDWARE: dict[str, Hardware] = {
    row.id: row
    for row in (
        _cpu("cpu-basic", "2 processors, free"),
        _cpu("cpu-upgrade", "8 processors"),
        ZERO,
        _cuda("t4-small", "T4, 16 GB"),
        _cuda("t4-medium", "T4, 16 GB"),
        _cuda("l4x1", "L4, 24 GB"),
        _cuda("l40sx1", "L40S, 48 GB"),
        _cuda("a10g-small", "A10G, 24 GB"),
        _cuda("a10g-large", "A10G, 24 GB"),
        _cuda("a100-large", "A100, 80 GB"),
    )
}


def hardware_of(id: str) -> Hardware:
    """The row of that name, or of the platform's own. Raises BadInput with those there are."""
    found = HARDWARE.get(id) or next((row for row in HARDWARE.values() if row.flavour == id), None)
    if found is None:
        raise BadInput(f"There is no hardware {id!r}. Known: {', '.join(HARDWARE)}.", field="hardware")
    return found
