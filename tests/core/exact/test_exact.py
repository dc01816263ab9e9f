"""Exact mode says the same as diffusers, with less, and leaves nothing behind."""

from __future__ import annotations

import weakref
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from svd_ui.core.attention import install
from svd_ui.core.compiling import CompiledBlocks
from svd_ui.core.exact import CrossConstants, exact, resnets, temporal_conv2d, unused_in_steps
from svd_ui.core.exact import ops as sizes
from svd_ui.core.offload import chunked_forward

from .conftest import distance, inputs, make_unet

EXACT = 1e-5


@torch.no_grad()
def predict(unet: Any, args: tuple[Tensor, ...]) -> Tensor:
    (prediction,) = unet(*args, return_dict=False)
    assert isinstance(prediction, Tensor)
    return prediction


@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "chunked"])
@pytest.mark.parametrize("given", [False, True], ids=["alone", "constants"])
@pytest.mark.parametrize(
    ("batch", "frames", "height", "width"), [(1, 4, 8, 8), (2, 5, 10, 6), (3, 1, 8, 12), (1, 13, 9, 7)]
)
def test_the_unet_says_the_same(
    unet: Any, vae: Any, batch: int, frames: int, height: int, width: int, given: bool, chunked: bool
) -> None:
    args = inputs(batch, frames, height, width)
    expected = predict(unet, args)
    constants = CrossConstants(unet, args[2], frames).use() if given else nullcontext()
    over_time = temporal_conv2d(unet, vae) if given else nullcontext()
    with exact(unet, vae), over_time, chunked_forward(unet, frames, chunked), constants:
        assert distance(predict(unet, args), expected) < EXACT


@pytest.mark.parametrize("budget", [1, 20_000])
def test_parts_of_any_size_say_the_same(unet: Any, vae: Any, budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As full-size clips are treated: with so little room every layer works in chunks."""
    monkeypatch.setattr(sizes, "LEAN_BYTES", budget)
    args = inputs(2, 7, 10, 6)
    expected = predict(unet, args)
    with exact(unet, vae), chunked_forward(unet, 7, True):
        assert distance(predict(unet, args), expected) < EXACT


def test_a_middle_sized_unet_says_the_same(vae: Any) -> None:
    unet = make_unet((64, 128, 256), (2, 4, 8))
    args = inputs(1, 6, 16, 24)
    expected = predict(unet, args)
    with exact(unet, vae), CrossConstants(unet, args[2], 6).use():
        assert distance(predict(unet, args), expected) < EXACT


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_errs_no_more_than_diffusers(vae: Any, dtype: torch.dtype) -> None:
    unet = make_unet()
    args = inputs(1, 4, 8, 8)
    truth = predict(unet, args)
    unet.to(dtype)
    half = tuple(tensor.to(dtype) if tensor.ndim else tensor for tensor in args)
    stock = distance(predict(unet, half).float(), truth)
    with exact(unet, vae), CrossConstants(unet, half[2], 4).use():
        ours = predict(unet, half)
    assert ours.dtype == dtype
    assert distance(ours.float(), truth) < 1.5 * stock


@pytest.mark.parametrize("num_frames", [1, 3])
@pytest.mark.parametrize("little_room", [False, True])
def test_the_autoencoder_says_the_same(
    unet: Any, vae: Any, num_frames: int, little_room: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if little_room:
        monkeypatch.setattr(sizes, "RESIDENT_BYTES", 1)
    latents = torch.randn(2 * num_frames, 4, 8, 12, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        pixels = vae.decode(latents, num_frames=num_frames).sample
        mode = vae.encode(pixels).latent_dist.mode()
        with exact(unet, vae), temporal_conv2d(vae) if little_room else nullcontext():
            assert distance(vae.decode(latents, num_frames=num_frames).sample, pixels) < EXACT
            assert distance(vae.encode(pixels).latent_dist.mode(), mode) < EXACT


def test_inputs_are_read_only_and_may_be_strided(unet: Any, vae: Any) -> None:
    args = inputs(2, 4, 8, 8)
    expected = predict(unet, args)
    strided = (args[0].transpose(0, 1).contiguous().transpose(0, 1), *args[1:])
    before = strided[0].clone()
    with exact(unet, vae):
        assert distance(predict(unet, strided), expected) < EXACT
    assert torch.equal(strided[0], before)


def test_layers_called_alone_leave_their_input_alone(unet: Any, vae: Any) -> None:
    """Feature caching calls residual blocks and transformers directly and keeps what goes in and out."""
    down = unet.down_blocks[0]
    x = torch.randn(4, 32, 8, 8, generator=torch.Generator().manual_seed(4))
    kwargs = {"image_only_indicator": torch.zeros(1, 4)}
    contexts = torch.randn(4, 1, 32, generator=torch.Generator().manual_seed(5))
    temb = torch.randn(4, 128, generator=torch.Generator().manual_seed(6))

    @torch.no_grad()
    def both() -> tuple[Tensor, Tensor]:
        made = down.resnets[0](x, temb, **kwargs)
        return made, down.attentions[0](made.clone(), encoder_hidden_states=contexts, **kwargs).sample

    before, expected = x.clone(), both()
    with exact(unet, vae):
        got = both()
        assert torch.equal(x, before)
        kept = got[0].clone()
        with torch.no_grad():
            down.attentions[0](got[0], encoder_hidden_states=contexts, **kwargs)
        assert torch.equal(got[0], kept)
    assert max(map(distance, got, expected)) < EXACT


def test_with_gradients_it_is_diffusers_own_code(unet: Any, vae: Any) -> None:
    args = inputs(1, 3, 8, 8)
    expected = unet(*args).sample
    with exact(unet, vae):
        got = unet(*args).sample
    assert torch.equal(got, expected)
    got.mean().backward()
    assert unet.conv_in.weight.grad is not None
    unet.zero_grad()


def test_nothing_is_left_behind(unet: Any, vae: Any) -> None:
    args = inputs(1, 4, 8, 8)
    expected = predict(unet, args)

    def looks(module: nn.Module) -> list[tuple[type, list[str]]]:
        return [(type(part), sorted(part.__dict__)) for part in module.modules()]

    before = looks(unet), looks(vae)
    keys = list(unet.state_dict())
    with exact(unet, vae), CrossConstants(unet, args[2], 4).use(), chunked_forward(unet, 4, True):
        predict(unet, args)
        ours = [type(part) for part in unet.modules() if type(part).__module__.startswith("svd_ui")]
        assert len(ours) > 30
        assert list(unet.state_dict()) == keys
    assert (looks(unet), looks(vae)) == before
    assert torch.equal(predict(unet, args), expected)


def test_steps_need_no_layer_that_is_said_to_be_unused(vae: Any) -> None:
    unet = make_unet()
    args = inputs(2, 4, 8, 8)
    expected = predict(unet, args)
    with exact(unet, vae):
        constants = CrossConstants(unet, args[2], 4)
        unused = unused_in_steps(unet)
        assert sum(p.numel() for layer in unused for p in layer.parameters()) > 50_000
        for layer in unused:
            layer.requires_grad_(False).to("meta")
        with constants.use():
            assert distance(predict(unet, args), expected) < EXACT


def test_constants_of_another_clip_are_not_taken(unet: Any, vae: Any) -> None:
    args, longer = inputs(1, 4, 8, 8), inputs(1, 5, 8, 8)
    expected = predict(unet, longer)
    with exact(unet, vae), CrossConstants(unet, args[2], 4).use():
        assert distance(predict(unet, longer), expected) < EXACT


def test_every_frame_may_be_told_something_else(unet: Any, vae: Any) -> None:
    """A transformer alone takes a context per frame; the temporal one reads the first frame's."""
    layer = unet.down_blocks[0].attentions[0]
    generator = torch.Generator().manual_seed(7)
    x, contexts = torch.randn(6, 32, 4, 4, generator=generator), torch.randn(6, 1, 32, generator=generator)
    kwargs = {"encoder_hidden_states": contexts, "image_only_indicator": torch.tensor([[0.0, 1, 0], [0, 0, 1]])}
    with torch.no_grad():
        expected = layer(x, **kwargs).sample
        with exact(unet, vae):
            assert distance(layer(x, **kwargs).sample, expected) < EXACT


def test_the_chosen_attention_is_used(vae: Any) -> None:
    unet = make_unet()
    install(unet, "sdpa")
    args, seen = inputs(1, 4, 8, 8), []
    expected = predict(unet, args)
    for processor in unet.attn_processors.values():
        inner = processor.attend
        processor.attend = lambda q, k, v, inner=inner: (seen.append(q.shape), inner(q, k, v))[1]
    with exact(unet, vae):
        assert distance(predict(unet, args), expected) < EXACT
    assert {tuple(shape)[:2] for shape in seen} >= {(4, 64), (64, 4)}  # within frames, over time


def test_what_has_been_read_is_let_go(unet: Any, vae: Any) -> None:
    """The widest input of the decoder's last block must not live while its time is mixed."""
    block = vae.decoder.up_blocks[-1].resnets[0]
    seen: list[weakref.ref[Tensor]] = []
    alive: list[bool] = []

    def spatial(_: nn.Module, args: tuple[Tensor]) -> None:
        seen.append(weakref.ref(args[0]))

    def temporal(*_: Any) -> None:
        alive.append(seen[-1]() is not None)

    hooks = [
        block.spatial_res_block.norm1.register_forward_pre_hook(spatial),
        block.temporal_res_block.norm1.register_forward_pre_hook(temporal),
    ]
    with torch.no_grad(), exact(unet, vae):
        vae.decode(torch.zeros(2, 4, 4, 4), num_frames=2)
    for hook in hooks:
        hook.remove()
    assert alive == [False]


def test_blocks_compile(vae: Any) -> None:
    """dynamo traces every block into one graph; a fallback to uncompiled blocks would be a ``failure``."""
    unet = make_unet((32, 64), (2, 4))
    args = inputs(2, 3, 8, 8)
    expected = predict(unet, args)
    with exact(unet, vae), CrossConstants(unet, args[2], 3).use():
        compiled = CompiledBlocks(unet, backend="eager")
        assert distance(predict(unet, args), expected) < EXACT
        assert compiled.failure is None
        compiled.remove()


@torch.no_grad()
def test_convolutions_over_time_run_in_two_dimensions_without_exact_mode_too(unet: Any, vae: Any) -> None:
    """Some devices have no other. Those of the autoencoder's last layer are among them."""
    args = inputs(1, 4, 8, 8)
    latents = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    before, pixels = predict(unet, args), vae.decode(latents, num_frames=4).sample
    with temporal_conv2d(unet, vae):
        changed = [part for module in (unet, vae) for part in module.modules() if isinstance(part, nn.Conv3d)]
        assert {type(part) for part in changed} == {resnets.Conv3d}
        assert distance(predict(unet, args), before) < EXACT
        assert distance(vae.decode(latents, num_frames=4).sample, pixels) < EXACT
    assert {type(part) for part in changed} == {nn.Conv3d}
