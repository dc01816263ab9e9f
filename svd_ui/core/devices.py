"""Which device runs the model, and how: detection, and the plan that follows from it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal

import psutil
import torch

from ..catalog import PROFILES, ProfileRow, cuda_builds, profile_for
from ..catalog.profiles import placed
from ..clip import ClipSpec
from ..errors import BadInput
from ..notes import Note, sentence
from ..settings import Settings
from .attention import Attention, choose, suited
from .autotune import BenchmarkStore, key, microbenchmarks
from .number_formats import Traits, dtype_for, failed_formats, supports_bfloat16, wider

DeviceKind = Literal["cuda", "rocm", "mps", "cpu"]
WITHOUT_CONV3D = range(90800, 91500)
"""Versions of cuDNN that torch does not trust with it."""


@dataclass(frozen=True)
class DeviceInfo:
    """One device. ``measured`` is False where nobody has measured this app yet."""

    device: torch.device
    kind: DeviceKind
    name: str
    measured: bool

    @property
    def traits(self) -> Traits:
        """What decides the number format, before anything is known of a clip."""
        nvidia = self.kind == "cuda"
        return Traits(
            self.kind,
            self.name,
            torch.cuda.get_device_capability(self.device) if nvidia else None,
            self.memory()[0] if nvidia else None,
            supports_bfloat16(self.device),
        )

    @property
    def id(self) -> str:
        """The same for every process that uses the same physical device, whatever its settings call it."""
        if self.device.type != "cuda":
            return self.device.type
        properties = torch.cuda.get_device_properties(self.device)
        return f"gpu-{getattr(properties, 'uuid', 'lent')}"  # ZeroGPU's stand-in has none

    def memory(self) -> tuple[int | None, int | None]:
        """(total, free) bytes, None where the platform does not tell."""
        if self.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self.device)
            return total, free
        if self.kind == "mps":
            return int(torch.mps.recommended_max_memory()), None
        memory = psutil.virtual_memory()
        return memory.total, memory.available

    def usable(self) -> tuple[int | None, int | None]:
        """``memory`` as the next clip sees it: what this process holds on a card already is as good as free."""
        total, free = self.memory()
        if free is not None and self.device.type == "cuda":
            free += torch.cuda.memory_reserved(self.device)
        return total, free


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before weights are loaded.

    ``reasons`` say why, by what was decided: ``profile``, ``dtype``, ``attention``, then anything else.

    ``dtype`` is the U-Net's. The other modules follow it on a GPU and stay in float32 on a CPU, where
    they cost little (``module_dtype``). ``threads`` is how many a CPU computes with, None leaves torch's number;
    ``exact`` runs the exact speed-ups, ``compile`` the U-Net's blocks through torch.compile, ``temporal_conv2d``
    convolutions over time as Conv2d. ``second`` is another device that makes the unconditional half of guided steps.
    ``measured`` remembers what else is chosen by its time.
    """

    device: torch.device
    profile: ProfileRow
    dtype: torch.dtype
    attention: Attention
    reasons: Mapping[str, Note] = field(default_factory=dict)
    threads: int | None = None
    exact: bool = True
    compile: bool = False
    temporal_conv2d: bool = False
    second: torch.device | None = None
    benchmarks: BenchmarkStore = field(default_factory=BenchmarkStore, compare=False, repr=False)

    @property
    def notes(self) -> tuple[Note, ...]:
        """``reasons`` as they go with a clip: those of the profile and the kernel name what was chosen."""
        chosen = {"profile": self.profile.id, "attention": self.attention}
        return tuple(
            Note.of(what, chosen=chosen[what], why=why) if what in chosen else why for what, why in self.reasons.items()
        )

    @property
    def info(self) -> DeviceInfo:
        return describe(str(self.device))

    @property
    def flops_per_second(self) -> float | None:
        """The measured rate of matrix products in ``dtype``; None while nobody measured it."""
        rate = self.benchmarks.get(rate_key(self.info.name, self.dtype))
        return float(rate) if isinstance(rate, int | float) else None

    @property
    def place(self) -> str:
        """The device by its name here, or both."""
        return f"{self.device}+{self.second}" if self.second is not None else str(self.device)

    @property
    def splits(self) -> bool:
        """Whether ``second`` is used: weights that are streamed would have to be so twice, through one bus."""
        return self.second is not None and self.profile.offload != "group"

    def half(self) -> Plan:
        """The plan of what ``second`` makes. Raises ValueError where there is none."""
        if self.second is None:
            raise ValueError("this plan has one device")
        return replace(self, device=self.second, second=None, compile=False)

    def step_down(self, profile: ProfileRow) -> Plan:
        """The same with a smaller profile, on the same device."""
        reasons = {**self.reasons, "profile": Note.of("memory_ran_out")}
        return replace(self, profile=placed(profile, self.device.type), reasons=reasons)

    def widened(self, clip: ClipSpec) -> Plan | None:
        """The same in the next wider number format, in the profile that it needs; None after float32."""
        dtype = wider(self.dtype, supports_bfloat16(self.device))
        if dtype is None:
            return None
        narrow, name = (str(each).removeprefix("torch.") for each in (self.dtype, dtype))
        profile, attention, reasons = self.profile, self.attention, dict(self.reasons)
        reasons["dtype"] = Note.of("format_overflowed", format=name, narrow=narrow)
        info = self.info
        if info.kind != "cpu":
            fitting, _ = profile_for(info.kind, *info.usable(), clip, value_bytes(dtype))
            profile = max(profile, placed(fitting, info.kind), key=lambda row: row.order)
        return replace(self, dtype=dtype, profile=profile, attention=suited(attention, dtype)[0], reasons=reasons)

    def module_dtype(self, name: str) -> torch.dtype:
        return self.dtype if name == "unet" or self.device.type != "cpu" else torch.float32


def available() -> list[str]:
    """Names of the devices that can compute here, the best first; ``cpu`` is always one."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = [f"cuda:{index}" for index in range(count) if _has_code_for(index)]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def _has_code_for(index: int) -> bool:
    """Whether this PyTorch holds kernels for a card; ROCm's names of architectures are its own."""
    return bool(torch.version.hip) or _torch_build().has_code_for(torch.cuda.get_device_capability(index))


def select_devices(settings: Settings) -> list[str]:
    """The devices to use, in order: ``SVD_UI_DEVICES``, or all GPUs, or the CPU; ``cuda:0+cuda:1`` where two make one clip.

    Raises BadInput for an absent one.
    """
    if settings.device_entries == ("auto",):
        return [name for name in available() if name != "cpu"] or ["cpu"]
    for entry in settings.device_entries:
        require(entry)
    return list(settings.device_entries)


def require(entry: str) -> None:
    """Raises BadInput where a device of ``entry`` is not here."""
    here = available()
    absent = [name for name in entry.split("+") if name not in here]
    if absent:
        why = f" {sentence(build_mismatch())}".rstrip()
        raise BadInput(f"There is no device {absent[0]!r} here. SVD_UI_DEVICES may name: {', '.join(here)}.{why}")


def describe(name: str) -> DeviceInfo:
    """What is known about the device called ``name`` (``cuda:0``, ``mps``, ``cpu``)."""
    device = torch.device(name)
    if device.type == "cuda":
        kind: DeviceKind = "rocm" if torch.version.hip else "cuda"
        return DeviceInfo(device, kind, torch.cuda.get_device_name(device), measured=False)
    if device.type == "mps":
        return DeviceInfo(device, "mps", "Apple GPU", measured=False)
    return DeviceInfo(device, "cpu", _cpu_name(), measured=True)


def probe(*devices: torch.device) -> None:
    """Something small on each of ``devices``; raises what a broken one raises. One that is full answers, so it is well."""
    for device in devices:
        try:
            total = float(torch.ones(64, 64, device=device).matmul(torch.ones(64, 64, device=device)).sum())
        except torch.OutOfMemoryError:
            continue
        if total != 64**3:
            raise RuntimeError(f"CUDA error: {device} counted wrong")


@cache
def build_mismatch() -> Note | None:
    """Why this PyTorch cannot use an NVIDIA card of this machine, and what to install; None where there is nothing to say.

    The driver is asked, because PyTorch itself sees no card where it does not fit. Once a process: a restart follows a change.
    """
    if torch.version.hip:
        return None
    found = (cuda_builds.mismatch(_torch_build(), card) for card in cuda_builds.installed_cards())
    return next((why for why in found if why is not None), None)


def _torch_build() -> cuda_builds.TorchBuild:
    return cuda_builds.TorchBuild(torch.__version__, torch.version.cuda, tuple(torch.cuda.get_arch_list()))


def _cpu_name() -> str:
    """The processor's marketing name with its cores, as far as the system tells."""
    name = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass  # not Linux: platform knows best
    name = " ".join((name or platform.machine() or "CPU").replace("(R)", "").replace("(TM)", "").split())
    return f"{name}, {psutil.cpu_count() or 1} cores"


def threads_for(device_name: str, store: BenchmarkStore) -> int | None:
    """How many threads a CPU computes with: as measured, else its physical cores. None leaves it to the user's
    OMP_NUM_THREADS."""
    counts = microbenchmarks.thread_counts()
    if not counts:
        return None
    seconds = microbenchmarks.recall(store, key(device_name, "threads"), map(str, counts))
    return int(microbenchmarks.fastest(seconds)) if seconds else counts[0]


def _threads(info: DeviceInfo, store: BenchmarkStore, second: torch.device | None) -> int | None:
    """Two halves of one clip on one processor share its cores."""
    count = threads_for(info.name, store) if info.kind == "cpu" else None
    return max(1, count // 2) if count is not None and second is not None else count


def value_bytes(dtype: torch.dtype) -> int | None:
    """Bytes of a number on a GPU where it is not the two that costs are counted with."""
    return dtype.itemsize if dtype.itemsize != 2 else None


def rate_key(device_name: str, dtype: torch.dtype) -> str:
    """Where the measured FLOP/s of matrix products are kept."""
    return key(device_name, "matmul", str(dtype).removeprefix("torch."))


def temporal_key(device_name: str, dtype: torch.dtype) -> str:
    """Where the times of both forms of a convolution over time are kept."""
    return key(device_name, "temporal_conv", str(dtype).removeprefix("torch."))


def has_conv3d(info: DeviceInfo) -> bool:
    """Apple's GPUs have Conv3d from macOS 13.2 on only, and not in every number format."""
    return info.kind != "mps"


def temporal_conv2d_for(info: DeviceInfo, dtype: torch.dtype, store: BenchmarkStore) -> tuple[bool, Note | None]:
    """Whether convolutions over time run as Conv2d, and why where that was not measured: they are faster so, or need to.

    From cuDNN 9.8 to 9.14 torch takes half-precision Conv3d past cuDNN, slowly and through a matrix three times the
    size of the clip's features (pytorch issues 163539, 166643).
    """
    if not has_conv3d(info):
        return True, Note.of("no_conv3d")
    version = torch.backends.cudnn.version() if info.kind == "cuda" else None  # type: ignore[no-untyped-call]
    if version is not None and version in WITHOUT_CONV3D and dtype != torch.float32:
        return True, Note.of("temporal_conv2d")
    forms = microbenchmarks.recall(store, temporal_key(info.name, dtype), microbenchmarks.TEMPORAL_FORMS)
    if forms is None:  # a processor takes Conv3d through a copy of its inputs
        return info.kind == "cpu", None
    return microbenchmarks.fastest(forms) == "conv2d", None


def plan_for(
    settings: Settings,
    profile_name: str = "auto",
    device: str | None = None,
    clip: ClipSpec | None = None,
) -> Plan:
    """Decide device, number format, profile and attention.

    ``device`` is an entry of ``SVD_UI_DEVICES``. An explicit ``profile_name`` (the request's) wins over ``SVD_UI_PROFILE``, that over ``auto``: the first profile that
    ``clip`` fits in (without one SVD-XT's own). Profile ``cpu`` means the CPU on every
    machine. Raises BadInput for an unknown name.
    """
    wanted = profile_name if profile_name != "auto" else settings.profile
    if wanted not in {"auto", *PROFILES}:
        raise BadInput(f"There is no memory profile {wanted!r}. Known: auto, {', '.join(PROFILES)}.", field="profile")
    entry = device or select_devices(settings)[0]
    require(entry)
    names = ["cpu"] if wanted == "cpu" and not entry.startswith("cpu") else entry.split("+")
    info = describe(names[0])
    benchmarks = BenchmarkStore(settings.measured_file)
    traits = replace(info.traits, failed=failed_formats(benchmarks, info.name, clip))
    dtype, dtype_why = dtype_for(traits, benchmarks, settings.number_format)
    if wanted == "auto":
        profile, why = profile_for(info.kind, *info.usable(), clip, value_bytes(dtype))
    else:
        profile, why = PROFILES[wanted], Note.of("chosen")
    attention, attention_why = choose(settings.attention, info.device)
    attention, unsuited = suited(attention, dtype)
    reasons = {"profile": why, "dtype": dtype_why, "attention": unsuited or attention_why}
    here = placed(profile, info.kind)
    if here != profile:
        reasons["offload"] = Note.of("weights_stay", device=info.kind)
    if not info.measured:
        reasons["device"] = Note.of("device_not_measured", device=info.kind)
    elif (unused := build_mismatch()) is not None:
        reasons["device"] = unused
    conv2d, conv2d_why = temporal_conv2d_for(info, dtype, benchmarks)
    if conv2d_why is not None:
        reasons["temporal_conv2d"] = conv2d_why
    second = torch.device(names[1]) if len(names) > 1 else None
    return Plan(
        device=info.device,
        profile=here,
        dtype=dtype,
        attention=attention,
        reasons=reasons,
        threads=_threads(info, benchmarks, second),
        second=second,
        exact=settings.exact,
        temporal_conv2d=conv2d,
        benchmarks=benchmarks,
    )
