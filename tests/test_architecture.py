"""The house's rules, read from the source: what may import what, who may ask what, one meaning for a name, and size."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"torch", "diffusers", "transformers", "accelerate", "xformers"}
TIERS = (  # a room imports its own tier or lower
    """svd_ui settings errors events notes migration request clip catalog validation presets assets settings_tag
    text_to_image_info plugins methods post network hub media steering clips loras finetune model_dirs stability_keys
    weight_files weight_kinds asset_ref pictures accounts logs hosting""",
    "core",
    "engine",
    "jobs",
    "doctor space",
    "web",
    "cli",
    "__main__",
)
TIER = {room: number for number, rooms in enumerate(TIERS) for room in rooms.split()}
KINDS = {"methods", "post"}
"""A kind is one file: its parameters for everyone, and a ``sample`` or ``apply`` that imports the core when it runs."""

MAX_MODULES = 298
MAX_LINES = 47_600
"""21,500 for an app that read only what it had written or fetched itself, and 6,500 for what people have instead:

2,000 for checkpoints and LoRAs of any layout, program and place, 1,600 for pictures and clips of any format, depth and colour
space, 1,300 for devices that run out of memory, overflow, or do not fit the PyTorch installed, 1,000 for telling what is wrong
with an installation and its network, 600 for the page, the command line and settings about these.

2,800 more for a first clip one shows to others: 1,250 for scenes (cameras, depth, what stirs, frames of any size and time, what
lies beyond a picture's edge), 350 for the subject of a picture, 900 for a page that says what fits, follows several clips and
does not jump, 300 for previews that move, frames that are written, and clips of one name.

5,700 more for directing what moves: 1,900 for plans (camera paths, marks, things cut out, what flows, ways between stills), 900 for
the sampling that follows them, 900 for the methods, 700 for what people say in words, 1,300 for drawing on the page.

1,600 for a page that strangers may reach: accounts, hosts, limits, headers, what is measured. 1,500 for clips that go on from their
last step, and a queue that people work with.

7,900 for more than one machine, and for whoever looks after it: 1,150 for a queue in PostgreSQL, 1,650 for clips made on a Ray
cluster, 900 for several devices and one clip on two of them, 1,350 for Spaces, 1,350 for metrics, logs, traces, backups and what is
kept, 350 for clips that are changed while they wait, 250 for what is hostile or damaged,
200 for two hundred pages at once, 700 for what a second look found: who ends what, what others' files and names may be, who waits for
whom.
"""

FAMILY_FACTS = {"sampler", "form", "motion_paths", "path_seconds", "moves", "wants_still"}
FAMILY_ROOMS = (
    "svd_ui.catalog.families",
    "svd_ui.core.families",
    "svd_ui.catalog.checkpoint",
    "svd_ui.catalog.registry",
)


class Source:
    """A module of the package, by its dotted name."""

    def __init__(self, path: Path) -> None:
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        self.is_package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.is_package else parts)
        self.text = path.read_text("utf-8")
        self.tree = ast.parse(self.text)

    @property
    def room(self) -> str:
        return room(self.name)

    def imports(self, *, typing: bool = False, functions: bool = True) -> Iterator[tuple[str, str]]:
        """(module, name) of every import, the name empty for ``import module``.

        ``typing`` counts those under TYPE_CHECKING too, ``functions`` those that run only when a function does.
        """
        package = self.name.split(".") if self.is_package else self.name.split(".")[:-1]
        for node in self._nodes(self.tree, typing, functions):
            if isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                module = ".".join([*base, *([node.module] if node.module else [])])
                yield from ((module, alias.name) for alias in node.names)

    def _nodes(self, node: ast.AST, typing: bool, functions: bool) -> Iterator[ast.AST]:
        yield node
        children = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not functions:
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not typing:
            children = list(node.orelse)
        for child in children:
            yield from self._nodes(child, typing, functions)


Sources = Mapping[str, Source]


@pytest.fixture(scope="module")
def sources() -> Sources:
    """Every module by its name, parsed once."""
    found = map(Source, sorted((ROOT / "svd_ui").rglob("*.py")))
    return {source.name: source for source in found}


def room(module: str) -> str:
    """The part of the package a module is in: ``core`` of ``svd_ui.core.lora``; other packages are their own."""
    root, _, rest = module.partition(".")
    return rest.split(".")[0] if root == "svd_ui" and rest else root


def roots(source: Source, *, typing: bool = True, functions: bool = True) -> set[str]:
    return {module.split(".")[0] for module, _ in source.imports(typing=typing, functions=functions)}


def graph(sources: Sources) -> dict[str, set[str]]:
    """Module => the modules of ours it imports when it runs: the submodule where the imported name is one."""
    return {
        source.name: {
            f"{module}.{name}" if f"{module}.{name}" in sources else module
            for module, name in source.imports()
            if f"{module}.{name}" in sources or module in sources
        }
        - {source.name}
        for source in sources.values()
    }


def circle(edges: Mapping[str, set[str]]) -> list[str]:
    """One circle of ``edges``, its first node again at the end; empty where there is none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_modules_import_each_other_in_no_circle(sources: Sources) -> None:
    edges = graph(sources)
    assert "svd_ui.core.devices" in edges["svd_ui.core.runtime"], "the test looks at nothing"
    assert not circle(edges)


def test_rooms_import_each_other_in_no_circle(sources: Sources) -> None:
    edges: dict[str, set[str]] = defaultdict(set)
    for module, targets in graph(sources).items():
        # A kind's parameters are everyone's; what it does imports the core when it runs, which is no circle of knowledge.
        lazy = {target for target in targets if room(module) in KINDS and room(target) == "core"}
        edges[room(module)] |= {room(target) for target in targets - lazy} - {room(module)}
    assert not circle(edges)


def test_every_room_has_its_tier(sources: Sources) -> None:
    assert not {source.room for source in sources.values()} - set(TIER)


def test_a_module_imports_its_own_tier_or_lower(sources: Sources) -> None:
    above = {}
    for name, source in sources.items():
        kind = source.room in KINDS
        targets = {
            room(f"{module}.{imported}" if module == "svd_ui" else module)
            for module, imported in source.imports(typing=not kind, functions=not kind)
            if module.split(".")[0] == "svd_ui"
        }
        above[name] = {target for target in targets if TIER.get(target, 0) > TIER[source.room]}
    assert not {name: found for name, found in above.items() if found}


def test_torch_stays_in_the_core(sources: Sources) -> None:
    heavy = {}
    for name, source in sources.items():
        # The local engine and the kinds reach the core inside their functions, so that importing them costs nothing.
        lazy = source.room in {"engine", *KINDS}
        heavy[name] = roots(source, typing=not lazy, functions=not lazy) & HEAVY
    assert heavy["svd_ui.core.runtime"] == {"torch"}, "the test looks at nothing"
    assert not {name: found for name, found in heavy.items() if found and room(name) != "core"}


def test_gradio_stays_in_the_page(sources: Sources) -> None:
    users = {source.room for source in sources.values() if "gradio" in roots(source)}
    assert users == {"web"}


def test_only_the_core_knows_its_insides(sources: Sources) -> None:
    """``web`` and ``cli`` reach the device through the Engine protocol."""
    users = {
        name
        for name, source in sources.items()
        if source.room in {"web", "cli", "jobs", "hub", "media"}
        for module, imported in source.imports(typing=True)
        if f"{module}.{imported}.".startswith(("svd_ui.core.", "recipes."))
    }
    assert not users


def test_only_the_families_ask_what_family_a_checkpoint_is(sources: Sources) -> None:
    asked = {
        name: found
        for name, source in sources.items()
        if not name.startswith(FAMILY_ROOMS)
        if (found := sorted(family_questions(source)))
    }
    assert not asked


def family_questions(source: Source) -> Iterator[str]:
    """Where a module reads what tells families apart, or compares a family; a page's ``form`` is another thing."""
    facts = FAMILY_FACTS - ({"form"} if source.room == "web" else set())
    for node in ast.walk(source.tree):
        is_fact = isinstance(node, ast.Attribute) and node.attr in facts
        by_name = isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and len(node.args) > 1
        if is_fact or (by_name and isinstance(node.args[1], ast.Constant) and node.args[1].value in facts):
            yield f"{node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(isinstance(side, ast.Attribute) and side.attr == "family" for side in sides):
                yield f"{node.lineno}: {ast.unparse(node)}"


def test_a_class_name_has_one_meaning(sources: Sources) -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for name, source in sources.items():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name)
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_there_are_not_more_modules_than_one_can_know(sources: Sources) -> None:
    """Where there are, modules that serve one thing become one."""
    assert len(sources) <= MAX_MODULES


def test_there_are_not_more_lines_than_the_house_has_room_for(sources: Sources) -> None:
    """Where there are, something old goes, or code that says a thing twice says it once."""
    assert sum(len(source.text.splitlines()) for source in sources.values()) <= MAX_LINES
