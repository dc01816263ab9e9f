"""scripts/outdated.py: which pins are behind, and why."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILE = """\
# held: no, this is the head of the file

# a remark
# held: the other package
# wants it old
old==1.0.0
new==2.0.0; sys_platform == 'linux'
"""


@pytest.fixture(scope="module")
def outdated() -> ModuleType:
    spec = importlib.util.spec_from_file_location("outdated", ROOT / "scripts" / "outdated.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_pin_has_the_reason_that_stands_right_above_it(outdated: ModuleType) -> None:
    assert list(outdated.pins(FILE.splitlines())) == [
        ("old", "1.0.0", "the other package wants it old"),
        ("new", "2.0.0", ""),
    ]


def test_a_pin_that_is_held_is_told_and_is_no_fault(outdated: ModuleType) -> None:
    lines, explained = outdated.compare(list(outdated.pins(FILE.splitlines())), lambda name: "2.0.0")
    assert lines == ["old  1.0.0 -> 2.0.0   held: the other package wants it old"]
    assert explained


def test_a_pin_that_is_behind_without_a_reason_is_a_fault(outdated: ModuleType) -> None:
    lines, explained = outdated.compare(list(outdated.pins(FILE.splitlines())), lambda name: "3.0.0")
    assert lines[1] == "new  2.0.0 -> 3.0.0"
    assert not explained


def test_an_index_that_does_not_answer_is_not_taken_for_the_newest(outdated: ModuleType) -> None:
    lines, _ = outdated.compare([outdated.Pin("new", "2.0.0", "")], lambda name: "")
    assert "did not answer" in lines[0]


def test_every_pin_of_ours_is_read(outdated: ModuleType) -> None:
    for file in ROOT.glob("requirements*.txt"):
        rows = [line for line in file.read_text("utf-8").splitlines() if line and not line.startswith("#")]
        assert len(list(outdated.pins(rows))) == len(rows)
