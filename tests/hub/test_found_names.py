"""Names, endings and places that people have: each is found, may be asked for by name, or is said to be unusable."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from svd_ui.catalog import find_checkpoint, survey
from svd_ui.errors import BadInput
from svd_ui.hub import Hub, layout
from svd_ui.settings import Settings
from tests.hub.test_found import only, put, refusals

COMMIT = "a" * 40


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.mark.parametrize("name", ["svd_xt.sft", "SVD_XT.SAFETENSORS"])
def test_any_ending_of_safetensors_is_one(name: str, single: Path, settings: Settings, tmp_path: Path) -> None:
    put(single, settings.models_dir / name)
    assert only(settings).same_as == "svd-xt"
    assert Hub(settings, cache=tmp_path / "cache").present(only(settings)) == settings.models_dir / name


@pytest.mark.parametrize(
    "name", ["svd_xt.safetensors.crdownload", "svd_xt.sft.part", "svd_xt.zip", "svd_xt.safetensors"]
)
def test_what_is_not_there_yet_or_no_longer_is_said(name: str, settings: Settings) -> None:
    settings.models_dir.mkdir(parents=True)
    if name.endswith(".safetensors"):
        (settings.models_dir / name).symlink_to("/unplugged/svd_xt.safetensors")
    else:
        (settings.models_dir / name).write_bytes(b"PK")
    said = refusals(settings)
    wanted = {".crdownload": "unfinished download", ".part": "unfinished download", ".zip": "Unpack it"}
    assert wanted.get(Path(name).suffix, "is a broken link to /unplugged/svd_xt.safetensors") in said


def test_a_link_to_a_folder_on_a_drive_that_is_gone_is_said(settings: Settings) -> None:
    settings.models_dir.mkdir(parents=True)
    (settings.models_dir / "svd-xt").symlink_to("/unplugged/svd-xt")
    assert "svd-xt is a broken link to /unplugged/svd-xt." in refusals(settings)


@pytest.mark.parametrize("name", ["svd\nxt", "svd_xt e\u0301", "svd_xt@tune", "svd [xt]"])
def test_a_name_has_one_line_and_is_found_as_it_is_shown_and_as_it_is(
    name: str, single: Path, settings: Settings
) -> None:
    file = put(single, settings.models_dir / f"{name}.safetensors")
    row = only(settings)
    assert "\n" not in row.id + row.title and unicodedata.is_normalized("NFC", row.id)
    for asked in (row.id, f"local:{name}", name, file.name, str(file)):
        assert find_checkpoint(settings, asked).path == file, asked


def test_an_id_is_no_password(single: Path, settings: Settings) -> None:
    for place in ("a", "b"):
        file = put(single, settings.models_dir / place / "svd_xt.safetensors")
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data)
    (id,) = [id for id in survey(settings).rows if "@" in id]
    with pytest.raises(BadInput, match=id):
        find_checkpoint(settings, "nobody's")


def test_what_nobody_has_names_those_that_are_near(settings: Settings) -> None:
    with pytest.raises(BadInput) as caught:
        find_checkpoint(settings, "lcm-svd")
    assert caught.value.message.endswith("Known: animatelcm-svd-xt.")


@pytest.mark.parametrize("place", ["", "sub/folder"])
@pytest.mark.parametrize("what", ["file", "pipeline", "unet", "unet folder"])
def test_a_repository_of_any_shape_is_looked_through(
    what: str, place: str, tiny: Path, single: Path, settings: Settings, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    folder = layout.repo_folder(cache, "somebody/my-svd-xt-tune") / "snapshots" / COMMIT / place
    if what == "file":
        put(single, folder / "svd_xt_tune.safetensors")
    elif what == "pipeline":
        put(tiny, folder)
    else:
        put(tiny / "unet", folder / "unet" if what == "unet folder" else folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
        row = only(settings)
    assert row.path is not None and row.path.is_relative_to(folder) and row.num_frames == 25
    assert row.id in ("local:svd_xt_tune", "local:my-svd-xt-tune", "local:folder")


def test_of_two_of_one_name_that_which_can_be_used_has_it(single: Path, settings: Settings) -> None:
    damaged = settings.models_dir / "a" / "svd_xt.safetensors"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(single.read_bytes()[:-9])
    whole = put(single, settings.models_dir / "b" / "svd_xt.safetensors")
    assert find_checkpoint(settings, "local:svd_xt").path == whole
    assert find_checkpoint(settings, str(damaged)).path == damaged
