"""The folder for a Space: what is in it, what is not, and that a build can be trusted and repeated."""

from __future__ import annotations

import ast
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from pydantic import SecretStr
from typer.testing import CliRunner

from svd_ui.catalog import STABILITY_ROWS
from svd_ui.catalog.checkpoint import ANIMATE_LCM
from svd_ui.catalog.registry import nano_row
from svd_ui.cli import app
from svd_ui.errors import BadInput
from svd_ui.settings import REPOSITORY, Settings
from svd_ui.space import FILES, MANIFEST, SpacePlan, build, changed
from svd_ui.space.hardware import HARDWARE, ZERO, ZERO_TORCH, hardware_of
from svd_ui.space.texts import front_matter, preload, readme, requirements

SVD_XT, GATED = STABILITY_ROWS[1], STABILITY_ROWS[2]
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
FLAVOURS = {"cpu-basic", "cpu-upgrade", "zero-a10g", "t4-small", "t4-medium", "l4x1", "l40sx1", "a10g-small", "a10g-large", "a100-large"}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("space") / "out"
    build(folder, SpacePlan(ZERO, SVD_XT, "My stills: moving"))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def told(folder: Path) -> dict[str, Any]:
    """As the platform reads it: the block between the first two lines of dashes."""
    _, block, _ = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    return dict(yaml.safe_load(block))


def test_two_builds_are_equal_to_the_byte(built: Path, tmp_path: Path) -> None:
    build(tmp_path / "again", SpacePlan(ZERO, SVD_XT, "My stills: moving"))
    assert files(tmp_path / "again") == files(built)


def test_the_app_is_whole_and_nothing_else_is_there(built: Path) -> None:
    there = files(built)
    tops = {name.partition("/")[0] for name in there}
    assert tops == {
        ".gitattributes", MANIFEST, "LICENSE", "NOTICE", "README.md", "app.py", "assets", "presets", "requirements.txt", "svd_ui",
    }  # fmt: skip
    for name in (
        "svd_ui/web/templates/head.html",
        "assets/nano/svd_ui.json",
        "svd_ui/jobs/schema",
        "presets/landscape.json",
    ):
        assert any(one.startswith(name) for one in there), name
    assert not any("__pycache__" in name or name.endswith((".pyc", ".env")) for name in there)
    code = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "svd_ui").rglob("*.py")}
    assert code <= there.keys()


def test_the_front_matter_is_what_the_platform_takes(built: Path) -> None:
    front = told(built)
    assert front["title"] == "My stills: moving"
    assert {front["colorFrom"], front["colorTo"]} <= COLOURS
    assert (front["sdk"], front["app_file"], front["hf_oauth"]) == ("gradio", "app.py", True)
    assert isinstance(front["python_version"], str)
    assert len(front["short_description"]) <= 60
    assert front["suggested_hardware"] in FLAVOURS
    assert front["models"] == [SVD_XT.repo]
    assert "hf_oauth_scopes" not in front, "more than a name is asked for"


def test_files_to_preload_have_no_spaces_inside_their_lists() -> None:
    (line,) = preload(SVD_XT, "a" * 40)
    repo, names, revision = line.split(" ")
    assert (repo, revision) == (SVD_XT.repo, "a" * 40)
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in names.split(",")
    assert "model_index.json" in names.split(",")


def test_a_checkpoint_of_two_parts_is_preloaded_from_both() -> None:
    unet, rest = preload(ANIMATE_LCM, "")
    assert unet.split(" ") == [ANIMATE_LCM.repo, ANIMATE_LCM.unet_file]
    assert rest.startswith(f"{ANIMATE_LCM.base_repo} ")
    assert "unet/config.json" in rest
    assert "unet/diffusion_pytorch_model" not in rest


@pytest.mark.parametrize(
    ("row", "private", "preloads"), [(SVD_XT, False, True), (SVD_XT, True, False), (GATED, False, False)]
)
def test_weights_behind_a_form_are_not_left_to_a_build_without_a_token(row: Any, private: bool, preloads: bool) -> None:
    plan = SpacePlan(ZERO, row, private_weights=private)
    assert ("preload_from_hub" in front_matter(plan)) is preloads
    assert ("**needed**" in readme(plan)) is not preloads


def test_the_small_space_needs_nothing_from_the_hub() -> None:
    front = front_matter(SpacePlan(HARDWARE["cpu-basic"], nano_row()))
    assert not {"models", "preload_from_hub"} & front.keys()


@pytest.mark.parametrize("hardware", HARDWARE.values(), ids=HARDWARE)
def test_every_hardware_gets_pins_inside_the_app_s_ranges(hardware: Any) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    ranges = {row.name: row for row in map(Requirement, project["dependencies"])}
    lines = [line for line in requirements(hardware).splitlines() if not line.startswith(("#", "--"))]
    found = {row.name: row for row in map(Requirement, lines)}
    assert ranges.keys() - found.keys() == {"xformers"}
    assert found.get("spaces", "spaces") in {"spaces", *map(Requirement, project["optional-dependencies"]["dev"])}
    for name in found.keys() - {"spaces"}:
        (pin,) = found[name].specifier
        assert pin.operator == "=="
        assert ranges[name].specifier.contains(pin.version), f"{found[name]} is outside {ranges[name]}"
    (torch,) = found["torch"].specifier
    if hardware.kind == "zero":
        assert torch.version in ZERO_TORCH
        assert "spaces" in found
    else:
        assert torch.version.endswith(f"+{hardware.wheels}")
        assert "spaces" not in found
    assert found["gradio"].extras == {"oauth"}


def test_the_stand_in_for_a_gpu_comes_before_everything(built: Path) -> None:
    body = ast.parse((built / "app.py").read_text("utf-8")).body
    imports = [ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imports[:2] == ["import os", "import spaces"]
    before = [ast.unparse(node) for node in body[: [ast.unparse(node) for node in body].index("import spaces")]]
    assert any("ZEROGPU_MMAP_AUTOPRUNE_PATTERN" in line for line in before), "it would delete the weights it has packed"
    assert "spaces" not in (Path(REPOSITORY) / "app.py").read_text("utf-8").split("import")[1]


def test_licences_are_told(built: Path) -> None:
    text = (built / "README.md").read_text("utf-8")
    assert "Stability AI Community License" in text
    assert "Powered by Stability AI" in text
    assert "Stability" not in readme(SpacePlan(HARDWARE["cpu-basic"], nano_row())).replace("NOTICE", "")


def test_a_folder_of_somebody_s_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match=r"holds something else \(thesis.txt\)"):
        build(tmp_path, SpacePlan(ZERO, SVD_XT))
    assert files(tmp_path) == {"thesis.txt": b"mine"}
    with pytest.raises(BadInput, match="is a file"):
        build(tmp_path / "thesis.txt", SpacePlan(ZERO, SVD_XT))


def test_a_new_build_replaces_an_old_one_and_leaves_git_alone(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref")
    build(tmp_path, SpacePlan(HARDWARE["t4-small"], SVD_XT))
    assert (tmp_path / "packages.txt").read_text() == "gcc\nlibc6-dev\n"
    build(tmp_path, SpacePlan(HARDWARE["cpu-basic"], nano_row()))
    assert not (tmp_path / "packages.txt").exists()
    assert (tmp_path / ".git" / "HEAD").read_text() == "ref"
    assert changed(tmp_path) == []
    (tmp_path / "app.py").write_text("print()")
    assert changed(tmp_path) == ["app.py"]


@pytest.mark.parametrize(
    "name",
    ["../thesis.txt", "/{outside}/thesis.txt", ".git/HEAD", "svd_ui/.GIT/config", "..\\thesis.txt", "C:x", "", "a\0b"],
)
def test_a_clone_s_list_of_files_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    out, thesis = tmp_path / "out", tmp_path / "thesis.txt"
    build(out, SpacePlan(ZERO, SVD_XT))
    (out / ".git").mkdir()
    (out / ".git" / "HEAD").write_text("ref")
    thesis.write_text("mine")
    listed = {name.format(outside=tmp_path): "0"}
    (out / MANIFEST).write_text(json.dumps({"files": listed}))
    before = files(tmp_path)
    for use in (lambda: build(out, SpacePlan(ZERO, SVD_XT)), lambda: changed(out)):
        with pytest.raises(BadInput, match="is damaged"):
            use()
    assert files(tmp_path) == before


@pytest.mark.parametrize("place", ["svd_ui", "svd_ui/jobs", "README.md", MANIFEST])
def test_a_clone_s_links_are_not_followed(tmp_path: Path, place: str) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    build(out, SpacePlan(ZERO, SVD_XT))
    (out / place).rename(elsewhere)
    (out / place).symlink_to(elsewhere)
    before = files(tmp_path)
    with pytest.raises(BadInput, match="is a link: remove it"):
        build(out, SpacePlan(HARDWARE["cpu-basic"], nano_row()))
    assert files(tmp_path) == before


def test_a_folder_in_a_file_s_place_is_said(tmp_path: Path) -> None:
    build(tmp_path, SpacePlan(ZERO, SVD_XT))
    (tmp_path / "app.py").unlink()
    (tmp_path / "app.py").mkdir()
    with pytest.raises(BadInput, match="has no place for app.py"):
        build(tmp_path, SpacePlan(ZERO, SVD_XT))


def test_where_the_checkout_is_not_whole_the_build_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An image or a wheel holds what the app reads when it runs, and no more."""
    for name in FILES:
        (tmp_path / name).touch()
    monkeypatch.setattr("svd_ui.space.REPOSITORY", tmp_path)
    with pytest.raises(BadInput, match="has no requirements.txt: run 'space build' in a whole checkout"):
        build(tmp_path / "out", SpacePlan(ZERO, SVD_XT))
    assert not (tmp_path / "out").exists()


def test_every_secret_setting_stops_the_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each with a value of its kind that stands in a file that travels; in a variable or in ``.env``."""
    standing = {
        "auth": "user:password",
        "database": "postgresql://user:password@host/name",
        "ssl_keyfile_password": "Apache License",
    }
    assert standing.keys() == {name for name, field in Settings.model_fields.items() if field.annotation is SecretStr}
    for name, value in standing.items():
        with monkeypatch.context() as one:
            one.setenv(f"SVD_UI_{name.upper()}", value)
            with pytest.raises(BadInput, match="holds a secret"):
                build(tmp_path / "out", SpacePlan(ZERO, SVD_XT))
    (tmp_path / ".env").write_text("SVD_UI_AUTH=user:password")
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    with pytest.raises(BadInput, match="holds a secret"):
        build(tmp_path / "out", SpacePlan(ZERO, SVD_XT))
    assert not (tmp_path / "out").exists()


def test_a_secret_stops_the_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", "Apache License")  # what stands in a file that travels
    with pytest.raises(BadInput, match="holds a secret"):
        build(tmp_path / "out", SpacePlan(ZERO, SVD_XT))
    assert not (tmp_path / "out").exists()
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(BadInput, match="README.md holds a secret"):
        build(tmp_path / "out", SpacePlan(ZERO, SVD_XT, title="hf_" + "a" * 34))


def test_the_platform_s_own_names_are_understood() -> None:
    assert hardware_of("zero-a10g") is ZERO
    with pytest.raises(BadInput, match="Known: cpu-basic"):
        hardware_of("b200")


def test_the_command_says_what_to_do_next(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["space", "build", str(out), "--hardware", "zero-gpu", "--checkpoint", "svd-xt-1-1"])
    assert done.exit_code == 0, done.output
    assert "hf repos create NAME --type space --space-sdk gradio --flavor zero-a10g" in done.output
    assert f"hf upload NAME {out} . --type space" in done.output
    assert "set HF_TOKEN" in done.output
    again = CliRunner().invoke(app, ["space", "build", str(out), "--revision", "main"])
    assert (again.exit_code, "40 hexadecimal digits" in again.output) == (2, True)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ((), "brings its weights along"),
        (("--checkpoint", "svd-xt-1-1"), "always the newest"),
        (("--checkpoint", "svd-xt", "--private-weights"), "always the newest"),
    ],
)
def test_a_revision_that_nothing_would_follow_is_refused(tmp_path: Path, more: tuple[str, ...], says: str) -> None:
    command = ["space", "build", str(tmp_path / "out"), "--revision", "a" * 40, *more]
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, says in done.output, "leave --revision out" in done.output) == (2, True, True)
    assert not (tmp_path / "out").exists()


def test_a_token_is_asked_for_where_weights_need_one_alone(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["space", "build", str(tmp_path / "out"), "--private-weights"])
    assert (done.exit_code, "HF_TOKEN" in done.output) == (0, False)
