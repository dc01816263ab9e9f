"""PyTorch's builds for NVIDIA cards as rows: which driver each needs, which cards it has code for. No torch here.

From PyTorch's support matrix (RELEASE.md, "CUDA support matrix", and its issues 172352, 178665 and 190385) and NVIDIA's table of
drivers ("CUDA compatibility", minor versions).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from ..notes import Note

Capability = tuple[int, int]

INDEX = "https://download.pytorch.org/whl"


@dataclass(frozen=True)
class CudaBuild:
    """``driver`` is the oldest major version of NVIDIA's driver that CUDA of this major version takes.

    ``oldest`` and ``newest`` are compute capabilities of the cards that the build has code for.
    """

    cuda: str
    driver: int
    oldest: Capability
    newest: Capability

    @property
    def index(self) -> str:
        return f"{INDEX}/cu{self.cuda.replace('.', '')}"

    def fits(self, card: Card) -> bool:
        return (card.driver is None or card.driver >= self.driver) and self.has_code_for(card)

    def has_code_for(self, card: Card) -> bool:
        return card.capability is None or self.oldest <= card.capability <= self.newest


BUILDS = (
    CudaBuild("13.0", driver=580, oldest=(7, 5), newest=(12, 1)),
    CudaBuild("12.6", driver=525, oldest=(5, 0), newest=(9, 0)),
)
"""What the pinned PyTorch is published for, the newest first: Turing to Blackwell, and Maxwell to Hopper."""


@dataclass(frozen=True)
class Card:
    """An NVIDIA card as its driver tells of it; None where an old driver does not."""

    name: str
    capability: Capability | None = None
    driver: int | None = None


@dataclass(frozen=True)
class TorchBuild:
    """The PyTorch installed: its version, CUDA's (None: built without) and the architectures it has code for.

    ``archs`` are as PyTorch names them: ``sm_86`` runs on cards of that major version from 8.6 on, ``compute_86`` is compiled by the
    driver for any newer card.
    """

    version: str
    cuda: str | None
    archs: tuple[str, ...] = ()

    def has_code_for(self, capability: Capability) -> bool:
        return not self.archs or any(_runs(arch, capability) for arch in self.archs)


def build_for(card: Card) -> CudaBuild | None:
    """The newest build that runs on ``card`` with the driver it has; None where none does."""
    return next((build for build in BUILDS if build.fits(card)), None)


def mismatch(torch: TorchBuild, card: Card) -> Note | None:
    """Why ``torch`` does not run on ``card``, and what to do; None where it does."""
    install = _install(torch, build_for(card))
    known = {"card": card.name, "remedy": install}
    if torch.cuda is None:
        return Note.of("torch_without_cuda", **known)
    needed = next((build.driver for build in BUILDS if build.cuda.split(".")[0] == torch.cuda.split(".")[0]), None)
    if card.driver is not None and needed is not None and card.driver < needed:
        return Note.of("driver_too_old", driver=card.driver, cuda=torch.cuda, needed=needed, **known)
    if card.capability is not None and not torch.has_code_for(card.capability):
        capability = ".".join(map(str, card.capability))
        return Note.of("no_code_for_card", capability=capability, cuda=torch.cuda, archs=list(torch.archs), **known)
    return None


def installed_cards() -> list[Card]:
    """NVIDIA's cards in this machine as ``nvidia-smi`` lists them, whether PyTorch can use them or not."""
    # Drivers before 510 do not tell the compute capability.
    for fields in ("name,driver_version,compute_cap", "name,driver_version"):
        lines = _nvidia_smi(fields)
        if lines:
            return [card for line in lines if (card := _card(line)) is not None]
    return []


def _install(torch: TorchBuild, build: CudaBuild | None) -> Note:
    if build is None:
        return Note.of("no_build_for_card")
    # With its local part: pip takes 2.13.0 for installed whichever build that is.
    version = f"{torch.version.partition('+')[0]}+{build.index.rpartition('/')[2]}"
    return Note.of("install_build", command=f"python -m pip install torch=={version} --index-url {build.index}")


def _runs(arch: str, capability: Capability) -> bool:
    kind, _, digits = arch.partition("_")
    exact = digits[-1:].isalpha()  # sm_90a: for that card alone
    number = digits.rstrip("abcdefghijklmnopqrstuvwxyz")
    if not number.isdigit():
        return False
    major, minor = int(number[:-1]), int(number[-1])
    if kind == "compute":
        return (major, minor) <= capability
    return capability == (major, minor) if exact else major == capability[0] and minor <= capability[1]


def _card(line: str) -> Card | None:
    name, *rest = (part.strip() for part in line.split(","))
    driver = rest[0].split(".")[0] if rest else ""
    if not driver.isdigit():
        return None
    parts: Sequence[str] = rest[1].split(".") if len(rest) > 1 else ()
    capability = (int(parts[0]), int(parts[1])) if len(parts) == 2 and all(part.isdigit() for part in parts) else None
    return Card(name, capability, int(driver))


def _nvidia_smi(fields: str) -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        command = [program, f"--query-gpu={fields}", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []
