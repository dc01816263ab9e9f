"""pyproject.toml is the source of truth; the pinned files agree with it."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from svd_ui import __version__

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


def test_the_train_extra_is_part_of_dev() -> None:
    extras = PROJECT["optional-dependencies"]
    assert set(extras["train"]) <= set(extras["dev"])


def test_the_version_has_one_home() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert __version__.count(".") == 2


@pytest.mark.parametrize("name", ["run", "test", "bootstrap.sh"])
def test_scripts_are_plain_sh(name: str) -> None:
    text = (ROOT / "scripts" / name).read_text("utf-8")
    assert "[[" not in text
    assert "function " not in text
