"""docs/directing.md names what there is, and what it shows works."""

from __future__ import annotations

import re

from svd_ui.cli.fields import flag
from svd_ui.methods import METHODS
from svd_ui.settings import REPOSITORY
from svd_ui.steering import camera
from svd_ui.steering.words import recipe

TEXT = (REPOSITORY / "docs" / "directing.md").read_text("utf-8")
OURS = {kind: cls for kind, cls in METHODS.classes().items() if cls.__module__.startswith("svd_ui.")}


def test_every_method_and_parameter_is_there() -> None:
    methods = TEXT.partition("## The methods")[2]
    for kind, cls in OURS.items():
        assert f"`{kind}`" in TEXT
        paragraph = re.search(rf"^\*\*{kind}\*\*: (.*?)\n\n", methods, re.MULTILINE | re.DOTALL)
        assert paragraph, kind
        missing = [name for name in cls.model_fields if name != "kind" and f"`{name}`" not in paragraph[1]]
        assert not missing, kind
        if kind != "plain":
            assert flag(kind) in TEXT


def test_every_move_and_value_of_the_camera_is_there_with_its_range() -> None:
    assert all(name in " ".join(TEXT.split()) for name in camera.MOVES)
    for name, (low, high) in camera.LIMITS.items():
        assert re.search(rf"^\| `{name}` \|.*\| {low:g} to {high:g} \|$", TEXT, re.MULTILINE), name


def test_the_paths_it_shows_are_read() -> None:
    block = TEXT.partition("## The camera's path\n")[2].partition("\n\nMoves:")[0]
    paths = [re.split(r" {2,}", line.strip())[0] for line in block.strip().splitlines()]
    assert len(paths) == 5
    assert not any(camera.read(path).still for path in paths)


def test_what_it_says_to_say_is_understood() -> None:
    table = TEXT.partition("| say | what comes of it |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ")[0] for line in table.splitlines()]
    assert len(rows) > 12
    for said in (said for row in rows for said in re.split(r", (?!then)| / ", row)):
        found = recipe(said)
        assert found.chips or found.unknown[0].why, said
        assert not [one for one in found.unknown if not one.why], said
