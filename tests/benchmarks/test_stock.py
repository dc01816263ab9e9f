"""Random weights that both sides share, and figures that do not depend on which side made them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import accelerator as devices
from benchmarks.accelerator import Card, Host, matmul_rate
from benchmarks.clips import Clip, in_turn, median_ratio
from benchmarks.ours import Ours, difference, relative_difference, still
from benchmarks.stock import CONFIGS, Stock, Weights

TINY = CONFIGS["tiny"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights() -> Weights:
    return Weights(TINY, torch.device("cpu"), torch.float32)


def test_the_full_configuration_is_svd_xt() -> None:
    unet, vae = (CONFIGS["full"].build(name, torch.float16) for name in ("unet", "vae"))
    assert sum(parameter.numel() for parameter in unet.parameters()) == 1_524_623_082
    assert unet.config.num_frames == 25 and vae.config.force_upcast and unet.dtype == torch.float16
    assert CONFIGS["full"].build("image_encoder", torch.float16).config.projection_dim == 1024


def test_twins_are_other_modules_around_the_same_tensors(weights: Weights) -> None:
    twin = weights.twin()
    for name, module in weights.modules.items():
        assert twin[name] is not module
        pairs = zip(twin[name].parameters(), module.parameters(), strict=True)
        assert all(one is other for one, other in pairs)


def test_a_twin_of_weights_that_our_runtime_holds_is_all_diffusers(weights: Weights) -> None:
    """Figures of stock would be our own otherwise, when ours came first or a rerun goes on in the middle."""
    with Ours(weights, Host()) as ours:
        runtime = ours.runtime()
        assert type(runtime.unet).__module__.startswith("svd_ui")
        twin = weights.twin()
    modules = [module for part in ("unet", "vae") for module in twin[part].modules()]
    assert not [module for module in modules if type(module).__module__.startswith("svd_ui")]
    processors = twin["unet"].attn_processors.values()
    assert not [processor for processor in processors if type(processor).__module__.startswith("svd_ui")]


def test_the_same_weights_come_out_again_and_none_is_left_empty() -> None:
    def build() -> Weights:
        return Weights(TINY, torch.device("cpu"), torch.float32)

    for one, other in zip(build().modules.values(), build().modules.values(), strict=True):
        tensors = one.state_dict()
        assert all(torch.equal(tensors[key], value) for key, value in other.state_dict().items())
        assert all(value.isfinite().all() for value in tensors.values())


def test_half_precision_stays_finite() -> None:
    half = Weights(TINY, torch.device("cpu"), torch.float16)
    latents = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0)).half()
    with torch.no_grad():
        assert half.modules["vae"].decode(latents * 5, num_frames=2).sample.isfinite().all()


@pytest.mark.slow
def test_stock_and_ours_agree_and_leave_each_other_alone(weights: Weights, tmp_path: Path) -> None:
    stock, picture = Stock(weights, Host()), still(TINY)
    before = stock.latents(picture, 2)
    with Ours(weights, Host()) as ours:
        assert 0 < difference(ours, stock, picture) < 1e-5
        clip = ours.clip(picture, 2)
        assert clip.profile == "cpu" and len(clip.steps) == 1 and clip.stages["denoising"] > 0
        # The samplers round differently; a clip from another still or seed is off by tenths.
        assert relative_difference(ours.latents(), before) < 1e-3
        made = stock.clip(picture, 3, tmp_path)
        assert len(made.steps) == 2 and (tmp_path / "stock.mp4").stat().st_size
        assert ours.stages.loads == 1
        ours.clip(still(TINY, 1), 1)
        assert ours.stages.loads == 1
    assert torch.equal(stock.latents(picture, 2), before)


def test_every_number_has_a_still_of_its_own() -> None:
    pictures = [still(TINY, number).tobytes() for number in range(12)]
    assert len(set(pictures)) == 12


def test_a_clip_of_few_steps_tells_the_time_of_many() -> None:
    clip = Clip(seconds=10.0, steps=[2.0, 2.0, 8.0])
    assert clip.at(25, 4) == 10 + 21 * 2
    assert clip.at(4, 4) == 10


def test_ways_take_turns_and_their_ratio_is_by_round() -> None:
    order: list[str] = []
    in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b", "a", "b"]
    assert median_ratio([2, 40, 6], [1, 10, 2]) == 3  # a slow second round does not count more


def test_a_cap_on_memory_ends_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    fractions: list[float] = []
    card = Card.__new__(Card)
    card.device, card.total = torch.device("cuda", 0), 80 * devices.GIB
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda part, device: fractions.append(part))
    with pytest.raises(torch.OutOfMemoryError), card.capped(20 * devices.GIB):
        raise torch.OutOfMemoryError("full")
    assert fractions == [0.25, 1.0]
    with card.capped(None), card.capped(200 * devices.GIB):
        assert len(fractions) == 2  # a larger cap than the card is none


def test_the_matmul_rate_is_a_rate() -> None:
    assert 1e8 < matmul_rate(Host(), rounds=1, products=1) < 1e15


def test_a_missing_card_is_said_in_a_sentence() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SystemExit, match="no CUDA device"):
        devices.accelerator("cuda")
