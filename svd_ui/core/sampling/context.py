"""What a control method gets to work with: one clip, and the model's verbs for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...clip import ClipSpec
from ...errors import Cancelled
from ...events import CancelToken, never
from ..autotune.attention import select_kernels
from ..conditioning import condition, encode
from ..decode import decode_pixels
from ..exact import CrossConstants
from ..families import verbs_of
from ..families.svd import ENCODED_AT_ONCE
from ..interruptible import cells_of, interruptible
from ..runtime import Runtime
from ..second import split_cfg
from .anchoring import masked
from .denoiser import Conditioning, Denoiser, Pair, batched_cfg, cfg_interval, concatenated, guided, sequential_cfg
from .feature_cache import CachedUNet, FeatureCache
from .samplers import Generators, Step, gaussian, seeded

if TYPE_CHECKING:
    from PIL import Image

    from ...notes import Note
    from ..families.svd import Decoder, FamilyVerbs
    from ..staging import Stage

EVERYWHERE = (-torch.inf, torch.inf)
PRIME = 1_000_003
"""Seeds of a long clip's parts lie so far apart: further than those of a wall."""


@dataclass(frozen=True)
class SamplingContext:
    """One clip, or several of one wall that are made together: what is known about it, and the verbs to make it.

    Sigmas and latents are those of the outside (scaled latents), whatever the checkpoint diffuses. ``generator`` has to
    be the one, or those, that the ``conditioning`` drew from. ``cancel`` is checked before every call of the U-Net, and within long ones.
    ``resume`` is the step to go on from. ``reuse`` is where this clip keeps features between steps; None computes all of
    them at every step. ``decoder`` knows the still, for methods that look at pixels on the way.
    ``notes`` is where they say what people should know.
    """

    runtime: Runtime
    conditioning: Conditioning
    clip: ClipSpec
    generator: Generators
    cancel: CancelToken = field(default_factory=never)
    resume: Step | None = None
    reuse: FeatureCache | None = None
    decoder: Decoder | None = None
    notes: list[Note] = field(default_factory=list)

    def sigmas(self) -> Tensor:
        """Where the steps lie, ``[num_inference_steps + 1]``, the last one 0; on the CPU, so that reading one waits for no device."""
        return self._family.sigmas(self.runtime, self.clip)

    def start(self, sigmas: Tensor | None = None) -> Tensor:
        """Noise, drawn from ``generator``, to begin at the first sigma: ``[B F C h w]`` float32.

        The size of the noise is that of the checkpoint's own sigmas, unless others are given.
        """
        noise = gaussian(self.conditioning.image_latents.shape, self.generator)
        levels = self.runtime.sigmas(self.clip.num_inference_steps) if sigmas is None else sigmas
        generators = [self.generator] if isinstance(self.generator, torch.Generator) else self.generator
        seeds = [one.initial_seed() for one in generators]
        return self._family.start(self.runtime, levels, self.conditioning, noise, seeds)

    def walk(self, denoiser: Denoiser, x: Tensor, sigmas: Tensor) -> Iterator[Step]:
        """The checkpoint's sampler from ``x`` down ``sigmas`` ``[N + 1]``; after ``resume`` where that is given."""
        x = x if self.resume is None else self.resume.latents.to(x.device)
        return self._family.walk(
            denoiser, x, sigmas, lambda: gaussian(x.shape, self.generator).to(x.device), self._first
        )

    def directed(self) -> Iterator[Step]:
        """The checkpoint's walk, held to the clip's plan as far as its family follows one; its own where there is none.

        Where the plan tells everything, the walk begins where it is let go: what is above costs no call. Where what
        nobody directs shall stay calm, it begins near the plan (arXiv 2511.08633).
        """
        stage, sigmas = self.stage, self.sigmas()
        if stage is None:
            return self.walk(self.approximated(sigmas), self.start(), sigmas)
        reference, keep = self._family.reference(stage, self.clip, self.still)
        plan, (begin, let_go) = stage.choreography, self.clip.row.facts.follows(self.clip)
        release = 0.0 if plan.to_the_end else let_go
        level = release if bool((keep == 1).all()) else begin
        first = self.clip.first_step_below(level) if plan.rest_stays else 0
        sigmas = sigmas[first:]
        start = self.start(sigmas)
        if first:
            start = start + reference.to(start)
        denoiser, led = masked(self.approximated(sigmas), reference, keep, release), stage.led(*reference.shape[-2:])
        if led is not None and let_go > 0:
            denoiser = masked(denoiser, reference, led.to(reference.device), let_go)
        return self.walk(denoiser, start, sigmas)

    def conditional(self) -> Denoiser:
        """The model told about the still."""
        return self._denoiser(self.conditioning)

    def pair(self) -> Pair:
        """The model with and without the still: on two devices, in turn, or in one batch as the profile says."""
        without = self._family.unconditional(self.conditioning)
        half = self.runtime.second
        if half is not None:
            there = replace(self, runtime=half)._denoiser(without.to(half.device))
            return split_cfg(self.conditional(), there, half)
        if self.runtime.profile.guidance_in_turn:
            return sequential_cfg(self.conditional(), self._denoiser(without))
        return batched_cfg(self._denoiser(concatenated(self.conditioning, without)))

    def guided(self) -> Denoiser:
        """The model with guidance rising linearly over the frames, in the interval of noise that the clip asks for.

        Without guidance where its maximum is 1.
        """
        clip = self.clip
        if not clip.guided:
            return self.conditional()
        frames = self.conditioning.image_latents.shape[1]
        denoiser = guided(self.pair(), torch.linspace(clip.min_guidance_scale, clip.max_guidance_scale, frames))
        if clip.guidance_interval == EVERYWHERE:
            return denoiser
        return cfg_interval(denoiser, self.conditional(), *clip.guidance_interval)

    def approximated(self, sigmas: Tensor) -> Denoiser:
        """``guided``, with the features of some of the steps down ``sigmas`` reused where the clip asks for it.

        The step after ``resume`` computes all of them anew.
        """
        if self.clip.cache_interval == 1:
            return self.guided()
        reuse = FeatureCache.along(sigmas, self.clip.cache_interval, self._first)
        return reuse.count_steps(replace(self, reuse=reuse).guided())

    def about(self, still: Image.Image, frames: int, number: int) -> SamplingContext:
        """The same clip of another ``still``, at the clip's size, in as many ``frames``; for part ``number`` of a long one.

        It draws from a generator of its own.
        """
        clip = replace(self.clip, num_frames=frames)
        generator = seeded((clip.seed + number * PRIME) % 2**32)
        cond = condition(self.runtime, still, clip, generator)
        return replace(self, clip=clip, conditioning=cond, generator=generator, resume=None, reuse=None)

    @property
    def stage(self) -> Stage | None:
        """Where the clip's plan is played; None where it has none."""
        return self.decoder.stage if self.decoder else None

    def prolonged(self, latents: Tensor, length: int) -> Tensor:
        """A finished clip ``[1 F C h w]`` made ``length`` frames long without a model, where the family can."""
        return self._family.prolonged(latents, length)

    @property
    def still(self) -> Tensor:
        """The still repeated over the frames, ``[B F C h w]`` in scaled latents."""
        return self.conditioning.image_latents * self.runtime.scaling_factor

    def encode(self, pixels: Tensor) -> Tensor:
        """Frames ``[N 3 H W]`` in [-1, 1] => scaled latents ``[N C h w]``."""
        return encode(self.runtime, pixels) * self.runtime.scaling_factor

    def encode_frames(self, pixels: Tensor) -> Tensor:
        """``encode`` of many frames, a few at a time."""
        parts = (pixels[at : at + ENCODED_AT_ONCE] for at in range(0, len(pixels), ENCODED_AT_ONCE))
        return torch.cat([self.encode(part) for part in parts])

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents of a clip's first frames ``[N C h w]`` => pixels ``[N 3 H W]`` around [-1, 1], float32.

        Raises ValueError where the context was made without a ``decoder``.
        """
        if self.decoder is None:
            raise ValueError("this context was made without a decoder")
        with interruptible(self.runtime, {"vae": cells_of(latents)}, self.cancel):
            return decode_pixels(self.decoder, latents)

    @property
    def _first(self) -> int:
        """Steps that are done already."""
        return 0 if self.resume is None else self.resume.index

    @property
    def _family(self) -> FamilyVerbs:
        return verbs_of(self.runtime.row)

    def _denoiser(self, cond: Conditioning) -> Denoiser:
        unet = self.runtime.unet
        if self.reuse is not None:
            unet = CachedUNet(unet, self.reuse, slot=id(cond))
        if self.runtime.plan.exact:
            unet = self._with_constants(unet, cond)
        unet = partial(self._call_unless_cancelled, unet)
        return self._family.denoiser(self.runtime, unet, cond)

    def _call_unless_cancelled(self, unet: Callable[..., Any], sample: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Cancelled before the call, or within one that takes long."""
        if self.cancel.is_set():
            raise Cancelled()
        with interruptible(self.runtime, {"unet": cells_of(sample)}, self.cancel):
            return unet(sample, *args, **kwargs)

    def _with_constants(self, unet: Callable[..., Any], cond: Conditioning) -> Callable[..., Any]:
        """``unet`` given what is the same in all steps of this clip."""
        embeds = cond.image_embeds.to(self.runtime.device, self.runtime.plan.dtype)
        constants = CrossConstants(self.runtime.unet, embeds, num_frames=cond.image_latents.shape[1])

        def call(*args: Any, **kwargs: Any) -> Any:
            with constants.use():
                return unet(*args, **kwargs)

        return call


@torch.no_grad()
def sample(context: SamplingContext) -> Iterator[Step]:
    """The steps of the context's clip; goes on after ``context.resume`` where that is given.

    Raises Cancelled within one U-Net call of ``context.cancel`` being set. When anything fails, the generator is put back
    to where this call found it: after ``torch.OutOfMemoryError`` and ``runtime.use_profile(smaller)``, call again with
    the last step received as ``resume``, and the clip comes out as if nothing had happened.
    """
    runtime, given = context.runtime, context.generator
    generators = [given] if isinstance(given, torch.Generator) else list(given)
    before = [one.get_state() for one in generators]
    shape = context.conditioning.image_latents.shape
    for each in filter(None, (runtime, runtime.second)):
        select_kernels(each.unet, each.plan, shape)
    try:
        with runtime.denoising(shape[1]):
            yield from context.clip.request.method.sample(context)
    except BaseException:
        for one, state in zip(generators, before, strict=True):
            one.set_state(state)
        raise
