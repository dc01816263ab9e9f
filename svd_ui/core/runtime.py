"""A checkpoint in memory, and the one owner of whichever is loaded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..catalog import CheckpointRow, ProfileRow
from ..catalog.families.svd import karras
from ..notes import Note
from . import attention, loading
from .compiling import CompiledBlocks, obstacle
from .devices import Plan, plan_for
from .exact import exact, temporal_conv2d, unused_in_steps
from .offload import Placement, chunked_forward, give_back_pages, trim
from .sampling.samplers import down_to_zero

if TYPE_CHECKING:
    from .second import Half

__all__ = ["Models", "Plan", "Runtime", "plan_for"]


class Runtime:
    """One checkpoint under one plan; lives across clips, ends with ``close``.

    Modules are used inside ``use`` (any of them) or ``denoising`` (the U-Net), which put them on the device.
    """

    def __init__(self, row: CheckpointRow, source: Path, plan: Plan) -> None:
        """Load from ``source``, a diffusers folder or a single file of everything. Raises WeightsDamaged."""
        scheduler, normalisation = loading.load_scheduler(source, row), loading.load_normalisation(source, row)
        # The largest last: what is wrong with another shows before that is read.
        order = reversed(loading.COMPONENTS)
        modules = {name: loading.load_module(source, name, plan.module_dtype(name), row) for name in order}
        self._hold(row, plan, modules, normalisation, scheduler)

    @classmethod
    def around(
        cls,
        row: CheckpointRow,
        plan: Plan,
        modules: dict[str, Any],
        feature_extractor: loading.Normalisation,
        scheduler: Any,
    ) -> Runtime:
        """The same around ``modules`` (unet, vae, image_encoder) that are in memory already, in the plan's dtype."""
        runtime = cls.__new__(cls)
        runtime._hold(row, plan, dict(modules), feature_extractor, scheduler)
        return runtime

    def _hold(
        self,
        row: CheckpointRow,
        plan: Plan,
        modules: dict[str, Any],
        feature_extractor: loading.Normalisation,
        scheduler: Any,
    ) -> None:
        self.row, self.plan = row, plan
        self.second: Half | None = None
        """The U-Net on a second device, for the other half of guidance; ``Half`` puts it here once it is wanted."""
        self.weights: tuple[str, ...] = ()
        """Digests of the LoRAs in force: part of the key of whatever is kept between clips."""
        self.encoder_cache = EncoderCache()
        self.widened = False
        """Whether the number format was changed in place, so that the weights may be rounder than their files."""
        self.unet, self.vae, self.image_encoder = (modules[name] for name in ("unet", "vae", "image_encoder"))
        self.feature_extractor, self.scheduler = feature_extractor, scheduler
        attention.install(self.unet, plan.attention)
        self._modules = modules
        self._exact = ExitStack()
        if plan.exact:
            self._exact.enter_context(exact(self.unet, self.vae))
        if plan.temporal_conv2d:
            self._exact.enter_context(temporal_conv2d(self.unet, self.vae))
        self._placement = self._placed()
        give_back_pages()  # of weights as they were read, in another number format or another place
        self._compiled: CompiledBlocks | None = None
        self._compile(plan)

    @property
    def device(self) -> torch.device:
        return self.plan.device

    @property
    def profile(self) -> ProfileRow:
        return self.plan.profile

    @property
    def unets(self) -> tuple[Any, ...]:
        """Every copy of the U-Net."""
        return (self.unet,) if self.second is None else (self.unet, self.second.unet)

    @property
    def compiled(self) -> bool:
        """Whether the U-Net's blocks run compiled."""
        return self._compiled is not None and self._compiled.failure is None

    @property
    def notes(self) -> tuple[Note, ...]:
        """What did not go as the plan has it."""
        failure = self._compiled.failure if self._compiled is not None else None
        return (*self._placement.notes, *((Note.of("not_compiled", why=failure),) if failure else ()))

    @property
    def latent_channels(self) -> int:
        return int(self.unet.config.in_channels) // 2

    @property
    def scaling_factor(self) -> float:
        """Scaled latents = raw latents x this."""
        return float(self.vae.config.scaling_factor)

    @property
    def patch(self) -> int:
        """Pixels along a side of one latent cell."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def sigmas(self, num_inference_steps: int) -> Tensor:
        """The checkpoint's schedule ``[num_inference_steps + 1]`` in units of scaled latents, ending in 0."""
        config = self.scheduler.config
        if config.use_karras_sigmas and config.sigma_min and config.sigma_max:
            return down_to_zero(karras(num_inference_steps, config.sigma_min, config.sigma_max))
        self.scheduler.set_timesteps(num_inference_steps)
        sigmas: Tensor = self.scheduler.sigmas
        return sigmas.float()

    def initial_scale(self, sigmas: Tensor) -> Tensor:
        """What unit noise is multiplied by at the start, the way this checkpoint's scheduler spaces its steps."""
        if self.scheduler.config.timestep_spacing in ("linspace", "trailing"):
            return sigmas.max()
        return (sigmas.max().square() + 1).sqrt()

    def use(self, name: str, dtype: torch.dtype | None = None) -> AbstractContextManager[Any]:
        """``unet``, ``vae`` or ``image_encoder`` on the device within the block, in ``dtype`` where given."""
        return self._placement.use(name, dtype)

    @contextmanager
    def denoising(self, num_frames: int) -> Iterator[Any]:
        """The U-Net on the device, with the profile's chunked forward, for clips of ``num_frames``; its second likewise."""
        second = self.second.denoising(num_frames) if self.second is not None else nullcontext()
        with second, self.use("unet") as unet, chunked_forward(unet, num_frames, self.profile.forward_chunking):
            yield unet

    def use_profile(self, profile: ProfileRow) -> None:
        """Change the memory profile in place, between steps; results do not change. For stepping down.

        Blocks are no longer compiled then: other shapes would be compiled anew, for the rest of a clip.
        """
        self.adopt(replace(self.plan.step_down(profile), compile=False))

    def adopt(self, plan: Plan) -> None:
        """Take over another plan that differs in profile, compiling and reasons only."""
        self._compile(plan)
        moves = plan.profile.offload != self.profile.offload
        self.plan = plan
        if moves:
            self._placement.remove()
            trim()
            self._placement = self._placed()
            trim()
        if self.second is not None:
            if plan.splits:
                self.second.adopt(plan.half())
            else:
                self.drop_second()

    def drop_second(self) -> None:
        """Go on alone; between steps."""
        half, self.second = self.second, None
        self.plan = replace(self.plan, second=None)
        if half is not None:
            half.close()
            trim()

    def widen(self, plan: Plan) -> None:
        """Take over ``plan``, which computes in a wider number format, between steps, with the weights that are here."""
        plan = replace(plan, compile=False)
        if self.second is not None:
            if plan.splits:
                self.second.widen(plan.half())
            else:
                self.drop_second()
        self._compile(plan)
        self._placement.remove()
        for name, module in self._modules.items():
            if not hasattr(type(module), "inference_dtype"):
                nn.Module.to(module, plan.module_dtype(name))  # diffusers' own warns of layers that none of ours has
        attention.install(self.unet, plan.attention)
        self.plan, self.widened = plan, True
        self.encoder_cache.clear()
        trim()
        self._placement = self._placed()
        trim()

    def _placed(self) -> Placement:
        unused = {"unet": unused_in_steps(self.unet)} if self.plan.exact else {}
        return Placement(self._modules, self.plan.device, self.plan.profile, unused)

    def _compile(self, plan: Plan) -> None:
        wanted = plan.compile and not obstacle(plan.profile)
        if self._compiled is not None and not wanted:
            self._compiled.remove()
            self._compiled = None
        elif self._compiled is None and wanted:
            self._compiled = CompiledBlocks(self.unet)

    def close(self) -> None:
        """Let go of every weight, whoever still holds this object."""
        self.drop_second()
        if self._compiled is not None:
            self._compiled.remove()
        self._exact.close()
        self._modules.clear()
        self.encoder_cache.clear()
        for name in ("unet", "vae", "image_encoder", "_placement"):
            delattr(self, name)


class Models:
    """The one owner of what is loaded: at most one checkpoint, kept between clips."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._runtime: Runtime | None = None
        self._key: tuple[Any, ...] = ()

    @property
    def loaded(self) -> str | None:
        """The id of the loaded checkpoint."""
        runtime = self._runtime
        return runtime.row.id if runtime else None

    def get(self, row: CheckpointRow, source: Path, plan: Plan) -> Runtime:
        """The runtime of ``row``; another one that is loaded is freed first, and one whose files are others by now.

        Raises what ``Runtime`` raises.
        """
        key = (row, source, _state(source), plan.device, plan.dtype, plan.attention, plan.exact, plan.temporal_conv2d)
        with self._lock:
            if self._runtime is None or self._key != key or self._runtime.widened:
                self.release()
                self._runtime, self._key = self._load(row, source, plan), key
            else:
                self._runtime.adopt(plan)
            return self._runtime

    def _load(self, row: CheckpointRow, source: Path, plan: Plan) -> Runtime:
        return Runtime(row, source, plan)

    def release(self) -> None:
        """Free the loaded checkpoint; the next ``get`` loads again."""
        with self._lock:
            runtime, self._runtime = self._runtime, None
            if runtime is not None:
                runtime.close()
                del runtime
                trim()


def _state(source: Path) -> tuple[tuple[int, int], ...]:
    """What changes where somebody puts another file in a file's place: downloads anew, merges, trains."""
    files = [source] if source.is_file() else sorted(path for path in source.glob("*/*") if path.is_file())
    return tuple((stat.st_mtime_ns, stat.st_size) for stat in (path.stat() for path in files))


STILLS = 8
PER_STILL = 2
"""The embedding and the latents."""


class EncoderCache:
    """What encoders made of the last stills, so that the next clip of the same one starts without them.

    The least recently used go first; tensors lie in host memory (about 150 KB each) and live with their model."""

    def __init__(self, max_entries: int = STILLS * PER_STILL) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[Hashable, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get_or_encode(self, key: Hashable, encode: Callable[[], Tensor]) -> Tensor:
        """The tensor of ``key`` in host memory, a copy of its own; ``encode`` is called where it is not here."""
        if key not in self._entries:
            self._entries[key] = encode().cpu()
            if len(self) > self._max_entries:
                self._entries.popitem(last=False)
        self._entries.move_to_end(key)
        return self._entries[key].clone()

    def clear(self) -> None:
        self._entries.clear()
