"""The folder of LoRAs: what is listed and found by name, how every program's names are read, what is refused and why."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from svd_ui import loras
from svd_ui.errors import BadInput
from svd_ui.loras import layers
from svd_ui.notes import sentence
from svd_ui.request import LoraRef
from svd_ui.settings import Settings

LAYER = "down_blocks.0.attentions.0.temporal_transformer_blocks.0.attn1.to_q"
NAMES = ("mid_block.x.to_q.lora_A.weight", "mid_block.x.to_q.lora_B.weight")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "models" / "loras").mkdir(parents=True)
    return Settings(data_dir=tmp_path)


def write(settings: Settings, name: str, tensors: dict[str, np.ndarray], **metadata: str) -> Path:
    path = settings.models_dir / "loras" / f"{name}.safetensors"
    save_file(tensors, path, metadata=metadata)
    return path


def good(rank: int = 4, fill: float = 0.0) -> dict[str, np.ndarray]:
    shapes = ((rank, 8), (8, rank))
    return {name: np.full(shape, fill, np.float32) for name, shape in zip(NAMES, shapes, strict=True)}


def test_a_file_tells_its_rank_and_where_it_comes_from(settings: Settings) -> None:
    write(settings, "pans-left", good(rank=4), base="nano", licence="CC0-1.0", title="Pans left")
    found = loras.find(settings, LoraRef(name="pans-left"))
    assert (found.rank, found.base, found.licence, found.title) == (4, "nano", "CC0-1.0", "Pans left")


def test_what_another_program_says_of_the_model_is_shown(settings: Settings) -> None:
    write(settings, "sdxl", good(), **{"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"})
    assert loras.loras(settings)["sdxl"].note == "for stable-diffusion-xl-v1-base/lora"


def test_an_unknown_name_lists_the_known_ones(settings: Settings) -> None:
    write(settings, "one", good())
    with pytest.raises(BadInput, match="Known: one") as caught:
        loras.find(settings, LoraRef(name="two"))
    assert caught.value.field == "loras"


def test_names_cannot_leave_the_folder() -> None:
    for name in ("../secret", "/etc/passwd", "a/../b", "a//b", ".", ""):
        with pytest.raises(ValueError, match="LoraRef"):
            LoraRef(name=name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\xff" * 8, "not a safetensors file"),
        (b"\x05\0\0\0\0\0\0\0[1,2]", "not a safetensors file"),
        (b"\x02\0\0\0\0\0\0\0{]", "not a safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"<!doctype html><title>Sign in</title>", "web page"),
        (None, "cut short"),
    ],
)
def test_damaged_files_are_listed_with_their_trouble(settings: Settings, content: bytes | None, said: str) -> None:
    path = write(settings, "broken", good())
    path.write_bytes(path.read_bytes()[:-5] if content is None else content)
    assert said in loras.loras(settings)["broken"].trouble
    with pytest.raises(BadInput, match=said):
        loras.find(settings, LoraRef(name="broken"))


def test_numbers_that_are_no_fractions_are_refused(settings: Settings) -> None:
    write(settings, "int8", {name: value.astype(np.int8) for name, value in good().items()})
    assert "I8" in loras.loras(settings)["int8"].trouble


@pytest.mark.parametrize(
    "metadata", [{"lora_adapter_metadata": "[1]"}, {"lora_adapter_metadata": '{"lora_alpha": "x"}'}]
)
def test_odd_metadata_harms_nothing(settings: Settings, metadata: dict[str, str]) -> None:
    write(settings, "odd", good(), **metadata)
    assert [note.code for note in loras.loras(settings)["odd"].notes] == ["lora_alpha_assumed"]


def test_a_file_written_anew_has_another_digest(settings: Settings) -> None:
    write(settings, "one", good())
    first = loras.digest(loras.find(settings, LoraRef(name="one")), 1.0)
    assert loras.digest(loras.find(settings, LoraRef(name="one")), 0.5) != first
    write(settings, "one", good(fill=1.0))
    assert loras.digest(loras.find(settings, LoraRef(name="one")), 1.0) != first


@pytest.mark.parametrize(
    ("down", "up"),
    [
        ("{0}.lora_A.weight", "{0}.lora_B.weight"),
        ("{0}.lora_A.default.weight", "{0}.lora_B.default.weight"),
        ("base_model.model.{0}.lora_A.weight", "base_model.model.{0}.lora_B.weight"),
        ("unet.{0}.lora_A.weight", "unet.{0}.lora_B.weight"),
        ("unet.{0}.lora_A.my-adapter_2.weight", "unet.{0}.lora_B.my-adapter_2.weight"),
        ("{0}.lora_down.weight", "{0}.lora_up.weight"),
        ("unet.{0}.lora.down.weight", "unet.{0}.lora.up.weight"),
    ],
)
def test_layouts_with_dots_name_the_layer(down: str, up: str) -> None:
    names = [down.format(LAYER), up.format(LAYER)]
    (pair,) = layers(names, "x").items()
    assert pair[0] == LAYER
    assert (pair[1].down, pair[1].up) == (names[0], names[1])


def test_kohya_names_keep_their_underscores_and_bring_alpha() -> None:
    base = "lora_unet_down_blocks_0_attentions_0_proj_in"
    found = layers([f"{base}.lora_down.weight", f"{base}.lora_up.weight", f"{base}.alpha"], "x")
    assert found["down_blocks_0_attentions_0_proj_in"].alpha == f"{base}.alpha"


def test_attention_processor_layout_of_older_diffusers() -> None:
    base = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor."
    found = layers([f"{base}to_out_lora.down.weight", f"{base}to_out_lora.up.weight"], "x")
    assert list(found) == ["down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["down_blocks.0.motion_modules.0.x.lora_A.weight"], "AnimateDiff"),
        (["lora_unet_x.hada_w1_a"], "LoHa"),
        (["lora_unet_x.lokr_w1"], "LoKr"),
        (["x.lora_down.weight", "x.lora_up.weight", "x.lora_mid.weight"], "Tucker"),
        (["x.lora_A.one.weight", "x.lora_A.two.weight"], "several LoRAs"),
        (["lora_te_text_model_x.lora_down.weight"], "text-to-image"),
        (["transformer.blocks.0.attn.lora_A.weight"], "transformer video model"),
        (["down_blocks.0.resnets.0.conv1.weight"], "another kind"),
        (["x.lora_A.weight"], "missing"),
        ([], "no LoRA tensors"),
    ],
)
def test_other_files_are_refused_with_their_reason(names: list[str], reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as caught:
        layers(names, "some file")
    assert caught.value.field == "loras"
    assert "some file" in caught.value.message


# Names

ODD = [
    "slow pan (1)",
    "a,b",
    "[v2]",
    "Anna's",
    'a "quoted" one',
    "ünï",
    "人物",
    "fox 🦊",
    "a:0.5",
    "x=2",
    "-dash",
    "--loras",
    "style/slow pan",
    "<b>&amp;",
    "50%",
    "a\\b",
    "a?*|",
    " spaces ",
    "dots...",
    "x" * 200,
    "deep/er/and deeper",
    "{}",
    "[1]",
    "null",
]


def put(settings: Settings, name: str) -> Path:
    path = settings.models_dir / "loras" / f"{name}.safetensors"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(good(), path)
    except OSError:
        pytest.skip("this system has no such names")
    return path


@pytest.mark.parametrize("name", ODD)
def test_any_listed_name_is_found_and_travels(settings: Settings, name: str) -> None:
    path = put(settings, name)
    assert list(loras.loras(settings)) == [name]
    ref = LoraRef(name=name, weight=-0.75)
    assert loras.find(settings, ref).path == path
    other = "another"
    for text in (loras.written({name: 0.25, other: 1}), loras.written({other: 1, name: 0.25})):
        assert text.isprintable()
        assert dict(loras.listed(text)) == {name: "0.25", other: "1"}
    for typed, weight in ((name, "1"), (f"{name}:0.8", "0.8"), (f"{name}=-1", "-1"), (loras.written({name: 2}), "2")):
        assert loras.named([typed], {name}) == [(name, weight)]


def test_text_of_older_releases_is_read() -> None:
    assert loras.listed("slow pans:0.8, glow.v2:-1,plain") == [("slow pans", "0.8"), ("glow.v2", "-1"), ("plain", "1")]
    assert loras.listed("") == loras.listed(" , ") == []


def test_names_of_other_systems_are_found_however_their_letters_are_composed(settings: Settings) -> None:
    put(settings, "un\u0303i\u0308")
    (name,) = loras.loras(settings)
    assert loras.find(settings, LoraRef(name="uñï")).name == loras.find(settings, LoraRef(name=name)).name == "uñï"


@pytest.mark.skipif(sys.platform == "win32", reason="names there are text")
def test_names_that_no_page_could_hold_stop_no_other(settings: Settings) -> None:
    folder = settings.models_dir / "loras"
    for name in (b"caf\xe9", b"two\nlines"):
        save_file(good(), folder / "x.safetensors")
        os.rename(folder / "x.safetensors", os.fsencode(folder) + b"/" + name + b".safetensors")
    assert list(loras.loras(settings)) == ["two\\nlines"]
    for name in ("two\\nlines", "two\nlines"):
        assert loras.find(settings, LoraRef(name=name)).path.is_file()


def test_two_files_of_one_name_are_both_usable(settings: Settings, tmp_path: Path) -> None:
    comfy = tmp_path / "ComfyUI" / "models" / "loras"
    (comfy / "style").mkdir(parents=True)
    files = [put(settings, "style/x"), put(settings, "x"), comfy / "x.safetensors", comfy / "style" / "x.safetensors"]
    for path in files[2:]:
        save_file(good(rank=2), path)
    settings = settings.model_copy(update={"checkpoint_dirs": str(tmp_path / "ComfyUI")})
    found = {file.path: name for name, file in loras.loras(settings).items()}
    assert set(found) == set(files)
    assert (found[files[0]], found[files[1]]) == ("style/x", "x")
    for path, name in found.items():
        assert loras.find(settings, LoraRef(name=name)).path == path
    assert len(set(found.values())) == 4


def test_a_folder_that_is_linked_twice_is_listed_once(settings: Settings) -> None:
    put(settings, "a/x")
    (settings.models_dir / "loras" / "b").symlink_to(settings.models_dir / "loras" / "a")
    (settings.models_dir / "loras" / "a" / "loop").symlink_to(settings.models_dir / "loras")
    assert list(loras.loras(settings)) == ["a/x"]


def test_adapter_folders_are_called_like_the_folder(settings: Settings) -> None:
    for name in ("mine/adapter_model", "theirs/pytorch_lora_weights", "adapter_model"):
        put(settings, name)
    (settings.models_dir / "loras" / "mine" / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 2}')
    found = loras.loras(settings)
    assert sorted(found) == ["adapter_model", "mine", "theirs"]
    assert (found["mine"].alpha, found["mine"].notes) == (2, ())
    assert [note.code for note in found["theirs"].notes] == ["lora_alpha_assumed"]


def test_a_configuration_that_is_written_anew_is_read_anew(settings: Settings) -> None:
    path = put(settings, "mine/adapter_model")
    before = loras.digest(loras.find(settings, LoraRef(name="mine")), 1.0)
    path.with_name("adapter_config.json").write_text('{"r": 4, "lora_alpha": 2}')
    file = loras.find(settings, LoraRef(name="mine"))
    assert file.alpha == 2
    assert loras.digest(file, 1.0) != before


def test_pickles_are_listed_and_never_opened(settings: Settings) -> None:
    (settings.models_dir / "loras" / "old.pt").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    assert "pickle" in loras.loras(settings)["old"].trouble


def test_many_known_names_are_cut(settings: Settings) -> None:
    for index in range(30):
        put(settings, f"style/slow pan {index:02}")
    with pytest.raises(BadInput, match=r"Known: style/slow pan 00, .* and 18 more") as error:
        loras.find(settings, LoraRef(name="slow pan"))
    assert len(error.value.message) < 500


def test_a_clip_says_what_is_not_known_of_its_loras(settings: Settings) -> None:
    write(settings, "plain", good(), base="svd")
    notes = loras.remarks(settings, [LoraRef(name="plain")], "nano")
    assert [note.code for note in notes] == ["lora_alpha_assumed", "lora_of_another_checkpoint"]
    assert all("plain" in sentence(note) for note in notes)


@pytest.mark.parametrize(
    "layer",
    [
        "diffusion_model.blocks.0.self_attn.q",
        "lora_unet_blocks_0_self_attn_q",
        "lora_unet_double_blocks_0_img_attn_qkv",
        "diffusion_model.single_blocks.3.linear1",
    ],
)
def test_a_lora_of_a_transformer_is_not_offered(layer: str, settings: Settings) -> None:
    down, up = good().values()
    write(settings, "wan", {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up})
    assert "transformer video model" in loras.loras(settings)["wan"].trouble


def test_a_checkpoint_among_the_loras_is_sent_where_it_belongs(settings: Settings) -> None:
    shapes = {"conv_in": (8, 8, 3, 3), "conv_out": (4, 8, 3, 3), "add_embedding.linear_1": (8, 6)}
    shapes |= {"down_blocks.0.resnets.0.spatial_res_block.conv1": (8, 8, 3, 3)}
    shapes |= {"mid_block.resnets.0.temporal_res_block.conv1": (8, 8, 3, 1, 1)}
    write(settings, "svd", {f"{name}.weight": np.zeros(shape, np.float16) for name, shape in shapes.items()})
    assert "it is a checkpoint: put it into models" in loras.loras(settings)["svd"].trouble


def test_the_other_ending_of_safetensors_is_one(settings: Settings) -> None:
    write(settings, "pans", good()).rename(settings.models_dir / "loras" / "pans.sft")
    for asked in ("pans", "pans.sft"):
        assert not loras.find(settings, LoraRef(name=asked)).trouble
