"""The verbs of the core, imported when first used, so that importing the engine costs nothing.

``LocalEngine`` orders them. Tests hand it a subclass that fails where a device would.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..catalog import CheckpointRow
from ..clip import ClipSpec
from ..errors import NotFinite
from ..events import Preview
from ..loras import find
from ..notes import Note
from ..settings import Settings
from ..steering.choreography import Choreography
from . import CancelToken, Timed
from .progress import fingerprint, proof_of, same_latents

if TYPE_CHECKING:
    import torch

    from ..core.devices import Plan
    from ..core.families.svd import Decoder
    from ..core.runtime import Models, Runtime
    from ..core.sampling.denoiser import Conditioning
    from ..core.sampling.samplers import Step
    from ..core.threads import Neighbours
    from ..core.wall import Batch
    from .sampling import Generation

log = logging.getLogger(__name__)
T = TypeVar("T")
DEPTH = "depth"
"""The folder in ``models`` that may hold a depth model."""


class Stages:
    """One owner of the loaded models and one way to each stage."""

    def __init__(self, settings: Settings, device: str | None = None) -> None:
        self._settings, self._device = settings, device
        self._models: Models | None = None
        self._neighbours: Neighbours | None = None
        self._has_compiled = False
        self.waiting = 0
        """Clips that wait for this device, as far as the caller told."""

    @property
    def models(self) -> Models:
        if self._models is None:
            from ..core.runtime import Models

            self._models = Models()
        return self._models

    @property
    def loaded(self) -> str | None:
        """Id of the checkpoint in memory."""
        return self._models.loaded if self._models is not None else None

    def warm_up(self) -> None:
        """Import everything a clip needs, seconds that the first one then does not wait; measure a new device."""
        from ..core import conditioning, decode, loading, runtime, wall

        assert all((conditioning, decode, runtime, wall))
        loading.warm_up()
        # What was imported stays for good. Going over its half a million objects after every clip takes a quarter of a
        # second, and as long after a cancelled one.
        gc.collect()
        gc.freeze()
        self._quick_benchmark()

    def _quick_benchmark(self) -> None:
        """Measure what nobody did yet. A device in trouble, or full, is told by the clips that want it."""
        from ..core.autotune.device_benchmark import quick_benchmark
        from ..core.exact.ops import get_ready

        try:
            plan = self.plan("auto")
            quick_benchmark(plan)
            if plan.exact:
                get_ready(plan.device)
        except Exception as error:
            log.warning("the device was not measured: %s", error)

    def plan(self, profile: str, clip: ClipSpec | None = None) -> Plan:
        """What ``profile`` means for ``clip``; without one for SVD-XT's own."""
        from dataclasses import replace

        from ..core.compiling import decide
        from ..core.devices import plan_for

        plan = plan_for(self._settings, profile, self._device, clip)
        compile, why = decide(self._settings.compile, plan.device, plan.profile, self.waiting, self._has_compiled)
        if compile and plan.splits:
            compile, why = False, Note.of("not_compiled", why=Note.of("on_two_devices"))
        return replace(plan, compile=compile, reasons={**plan.reasons, "compile": why})

    def others(self) -> tuple[str, ...]:
        """Devices of this machine that ``auto`` means besides the one that a worker without a name takes."""
        from ..core.devices import select_devices

        if self._device is not None or self._settings.device_entries != ("auto",):
            return ()
        return tuple(select_devices(self._settings)[1:])

    def build_mismatch(self) -> Note | None:
        """Why the PyTorch installed cannot use a card of this machine."""
        from ..core.devices import build_mismatch

        return build_mismatch()

    def load(self, row: CheckpointRow, folder: Path, plan: Plan) -> Runtime:
        from ..core.threads import Neighbours, use_threads

        use_threads(plan.threads)
        self._neighbours = self._neighbours or Neighbours()
        self._mind_neighbours(plan)
        runtime = self.models.get(row, folder, plan)
        self._has_compiled |= runtime.compiled
        return runtime

    def add_second(self, runtime: Runtime, folder: Path) -> None:
        """The U-Net on the second device too, unless it is there already. Raises what a device without room raises."""
        if runtime.second is None:
            from ..core.second import Half

            runtime.second = Half(runtime, folder)

    def condition(self, runtime: Runtime, still: Image.Image, clip: ClipSpec) -> tuple[Conditioning, torch.Generator]:
        """What the U-Net is told, and the generator that the clip's noise goes on from."""
        from ..core.conditioning import condition
        from ..core.sampling.samplers import seeded

        generator = seeded(clip.seed)
        return condition(runtime, still, clip, generator), generator

    def reading(self, generation: Generation) -> AbstractContextManager[Any]:
        """Within the block the still's encoders stop when the clip is cancelled, where they take long."""
        from ..core.interruptible import interruptible_reading

        assert generation.runtime is not None
        return interruptible_reading(generation.runtime, generation.clip, generation.cancel)

    def sample(
        self,
        decoder: Decoder,
        cond: Conditioning,
        clip: ClipSpec,
        generator: torch.Generator,
        cancel: CancelToken,
        resume: Step | None,
        notes: list[Note] | None = None,
    ) -> Generator[Step]:
        """The clip's steps; ``notes`` gains what its method has to say."""
        from ..core.sampling.context import SamplingContext, sample

        runtime = decoder.runtime
        with self._loras(runtime, clip):
            told = [] if notes is None else notes
            context = SamplingContext(runtime, cond, clip, generator, cancel, resume, decoder=decoder, notes=told)
            yield from self._minding(sample(context), runtime)

    def whole_wall(self, runtime: Runtime, still: Image.Image, clip: ClipSpec) -> Batch:
        """The start of every tile of a wall."""
        from ..core.wall import whole_wall

        return whole_wall(runtime, still, clip)

    def sample_batch(self, decoder: Decoder, batch: Batch, clip: ClipSpec, cancel: CancelToken) -> Generator[Batch]:
        """Tiles made together, after each step from where they are."""
        from ..core.wall import sample_batch

        with self._loras(decoder.runtime, clip):
            yield from self._minding(sample_batch(decoder, batch, clip, cancel), decoder.runtime)

    def _minding(self, parts: Iterator[T], runtime: Runtime) -> Iterator[T]:
        """``parts``, each computed with the cores that other programs leave."""
        self._mind_neighbours(runtime.plan)
        for part in parts:
            yield part
            self._mind_neighbours(runtime.plan)

    def _mind_neighbours(self, plan: Plan) -> None:
        if self._neighbours is not None and not self._has_compiled:  # compiled code counts its threads once
            self._neighbours.adapt(plan.threads)

    def _loras(self, runtime: Runtime, clip: ClipSpec) -> AbstractContextManager[None]:
        """The clip's LoRAs in force while it denoises; before and after, the weights are the checkpoint's."""
        from ..core.lora import Lora, use_loras

        return use_loras(runtime, [Lora(find(self._settings, one), one.weight) for one in clip.request.loras])

    def preview(self, row: CheckpointRow, denoised: Any) -> Preview | None:
        from ..core.decode import preview

        return preview(row, denoised)

    def preview_frame(self, row: CheckpointRow, denoised: Any) -> Image.Image | None:
        """The middle frame alone."""
        from ..core.decode import preview_frames

        frames = preview_frames(row, denoised, most=1)
        return None if frames is None else Image.fromarray(frames[0])

    def check_finite(self, *latents: Any) -> None:
        """Raises NotFinite where one of ``latents`` is no numbers any more; waits for the device."""
        from ..core.decode import is_finite

        if not all(bool(is_finite(each)) for each in latents):
            raise NotFinite(doing="denoising")

    def remember_overflow(self, generation: Generation) -> None:
        """A wider number format proved right: the next clip like this one begins in it."""
        from ..core.number_formats import remember_overflow

        plan = generation.plan
        while generation.overflowed:
            remember_overflow(plan.benchmarks, plan.info.name, generation.clip, generation.overflowed.pop())

    def nearness(self, still: Image.Image) -> Any | None:
        """How near each part of ``still`` is by the depth model in ``models/depth``, [H W]; None where there is none."""
        folder = self._settings.models_dir / DEPTH
        if not (folder / "config.json").is_file():
            return None
        from ..core.depth import nearness

        return nearness(folder, still, self.plan("auto").device)

    def decoder(
        self,
        runtime: Runtime,
        still: Image.Image,
        clip: ClipSpec,
        picture: Image.Image,
        choreography: Choreography | None = None,
    ) -> Decoder:
        """What decodes the clips of ``still``, which was cut from ``picture``, as their plan has it."""
        from ..core.decode import decoder_of

        return decoder_of(runtime, still, clip, picture, choreography)

    def decode(
        self, decoder: Decoder, latents: Any, chunk: int, cancel: CancelToken, start: int
    ) -> Iterator[NDArray[np.uint8]]:
        from ..core.decode import decode

        return self._minding(decode(decoder, latents, chunk, cancel, start), decoder.runtime)

    def still(
        self, folder: Path, clip: ClipSpec, plan: Plan, cancel: CancelToken
    ) -> Iterator[tuple[int, int] | Image.Image]:
        """(step, total) pairs, then the picture."""
        from ..core.text_to_image import generate

        return generate(self._settings, folder, clip, plan, cancel)

    def probe(self) -> None:
        """A small sum on the device, or on both."""
        from ..core.devices import probe

        plan = self.plan("auto")
        probe(*filter(None, (plan.device, plan.second)))

    def benchmark(self) -> list[Timed]:
        """Measure every choice of this device anew and remember the fastest."""
        from ..core.autotune.device_benchmark import full_benchmark

        return full_benchmark(self.plan("auto"))

    def free(self) -> None:
        """Give back what the last clip held beside the weights."""
        if self._models is not None:
            from ..core.offload import empty_cache, give_back_pages

            empty_cache()
            give_back_pages()

    def release(self) -> None:
        """Give back the weights too."""
        if self._models is not None:
            self._models.release()
        self.free()

    def proof(self, generation: Generation) -> str:
        """Equal for two walks that give the same latents: see ``progress``."""
        clip, plan = generation.clip, generation.plan
        loras = [fingerprint(find(self._settings, one).path) for one in clip.request.loras]
        how = (generation.dtype, plan.attention, plan.exact, plan.temporal_conv2d, plan.info.name)
        weights = fingerprint(generation.source) if generation.source is not None else []
        facts = {"weights": weights, "loras": loras, "how": how, "versions": self.versions()}
        return proof_of({**facts, "request": same_latents(clip.request), "length": clip.num_frames})

    def versions(self) -> dict[str, str]:
        """What made the clip, for its records."""
        import platform
        from importlib.metadata import version

        from .. import __version__

        return {
            "svd_ui": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "diffusers")},
        }
