"""pyproject.toml is the source of truth; the pinned files agree with it."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from svd_ui import __version__
from svd_ui.jobs.postgres import INSTALL

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def pins(name: str) -> dict[str, Requirement]:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    rows = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {row.name: row for row in rows}


@pytest.mark.parametrize(
    ("file", "declared"),
    [
        ("requirements.txt", PROJECT["dependencies"]),
        ("requirements-dev.txt", PROJECT["optional-dependencies"]["dev"]),
    ],
)
def test_pins_are_the_declared_packages_inside_their_ranges(file: str, declared: list[str]) -> None:
    ranges = {row.name: row for row in map(Requirement, declared)}
    pinned = pins(file)
    assert pinned.keys() == ranges.keys()
    for name, row in pinned.items():
        (spec,) = row.specifier
        assert spec.operator == "==", f"{name} is not pinned"
        assert ranges[name].specifier.contains(spec.version), f"{row} is outside {ranges[name]}"
        assert str(row.marker) == str(ranges[name].marker), f"{name} has another marker"


@pytest.mark.parametrize("extra", ["train", "postgres", "telemetry"])
def test_an_extra_that_is_tested_is_part_of_dev(extra: str) -> None:
    extras = PROJECT["optional-dependencies"]
    assert set(extras[extra]) <= set(extras["dev"])


def test_the_remedy_for_a_missing_package_names_all_of_the_extra() -> None:
    for line in PROJECT["optional-dependencies"]["postgres"]:
        assert re.match(r"[\w\[\]]+", line)[0] in INSTALL  # type: ignore[index]


def test_the_version_has_one_home() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert __version__.count(".") == 2


def test_a_space_runs_the_pinned_gradio() -> None:
    (version,) = re.findall(r"^sdk_version: (\S+)$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert str(pins("requirements.txt")["gradio"].specifier) == f"=={version}"


@pytest.mark.parametrize("name", ["run", "test", "install", "update", "bootstrap.sh"])
def test_scripts_are_plain_sh(name: str) -> None:
    text = (ROOT / "scripts" / name).read_text("utf-8")
    assert "[[" not in text
    assert "function " not in text


def test_the_hooks_before_a_commit_are_the_checks_of_scripts_test() -> None:
    """All but pytest, with the tools of the project's own environment, so that neither passes what the other refuses."""
    script = (ROOT / "scripts" / "test").read_text("utf-8")
    checks = [line.removeprefix("run ") for line in script.splitlines() if line.startswith("run ")]
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    hooks = repository["hooks"]
    assert [hook["entry"] for hook in hooks] == [
        f".venv/bin/python -m {check}" for check in checks if not check.startswith("pytest")
    ]
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in hooks)


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda form: form.stem
)
def test_an_issue_form_has_what_the_code_host_asks_for(form: Path) -> None:
    content = yaml.safe_load(form.read_text("utf-8"))
    assert {"name", "description", "body"} <= content.keys()
    ids = [field["id"] for field in content["body"] if field["type"] != "markdown"]
    assert len(ids) == len(set(ids))
    for field in content["body"]:
        assert field["type"] in {"markdown", "input", "textarea", "dropdown", "checkboxes"}
        assert field["attributes"].get("label") or field["attributes"].get("value")
        for path in re.findall(r"\.\./(?:blob|tree)/HEAD/([^)#]+)", str(field)):
            assert (ROOT / path).exists(), f"{form.name} points to {path}, which is not there"


def test_the_dev_container_installs_by_our_own_script() -> None:
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text("utf-8"))
    assert container["postCreateCommand"] == "sh scripts/install dev"
    assert 7860 in container["forwardPorts"]


def test_nobody_is_told_to_install_a_package_of_our_name() -> None:
    """It is on no index: whoever put one there would be installed."""
    files = [
        path for folder in ("svd_ui", "docs", "deploy", "scripts", ".github") for path in (ROOT / folder).rglob("*")
    ]
    texts = [
        path
        for path in [*files, *ROOT.glob("*.*")]
        if path.suffix in {".py", ".md", ".json", ".yml", ".yaml", ".sh", ".bat"}
    ]
    found = [path for path in texts if re.search(r"svd[-_]ui\[\w|pip install[^\n]*svd[-_]ui", path.read_text("utf-8"))]
    assert texts
    assert not found
