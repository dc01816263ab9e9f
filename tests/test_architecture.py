"""The direction of imports, read from the source: light things never reach for heavy ones."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "svd_ui"
HEAVY = {"torch", "diffusers", "transformers", "accelerate", "xformers"}
TIER = {  # a package imports its own tier or lower
    **dict.fromkeys(
        "__init__ request notes sentences events errors settings catalog validation presets assets settings_tag text_to_image_info hub media clips loras finetune".split(),
        0,
    ),
    "core": 1,
    "engine": 2,
    "jobs": 3,
    "doctor": 4,
    "web": 5,
    "cli": 6,
    "__main__": 7,
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def imports(tree: ast.AST, path: Path, top_only: bool) -> set[str]:
    """Absolute module names imported by a file; ``top_only`` leaves out those inside functions."""
    inside = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for child in ast.walk(node)
    }
    here = ["svd_ui", *path.relative_to(PACKAGE).with_suffix("").parts]
    package = here[:-1]
    found = set()
    for node in ast.walk(tree):
        if top_only and id(node) in inside:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


@pytest.fixture(scope="module")
def sources() -> dict[str, tuple[Path, ast.AST]]:
    """Every module by its name, parsed once."""
    return {name(path): (path, ast.parse(path.read_text("utf-8"))) for path in modules()}


Sources = dict[str, tuple[Path, ast.AST]]


def tier(module: str) -> int:
    return TIER[module.split("/")[0]]


def test_a_module_imports_its_own_tier_or_lower(sources: Sources) -> None:
    above = {}
    for module, (path, tree) in sources.items():
        targets = [found.split(".")[1] for found in imports(tree, path, top_only=False) if found.startswith("svd_ui.")]
        above[module] = [target for target in targets if TIER.get(target, 0) > tier(module)]
    assert not {module: found for module, found in above.items() if found}


def test_torch_stays_in_the_core(sources: Sources) -> None:
    heavy = {}
    for module, (path, tree) in sources.items():
        # The local engine reaches the core inside its functions, so that importing it costs nothing.
        found = imports(tree, path, top_only=module.startswith("engine/"))
        heavy[module] = {root(target) for target in found} & HEAVY
    assert heavy["core/runtime"] == {"torch"}, "the test looks at nothing"
    assert not {module: found for module, found in heavy.items() if found and tier(module) != 1}


def test_gradio_stays_in_the_page(sources: Sources) -> None:
    users = {module for module, (path, tree) in sources.items() if "gradio" in map(root, imports(tree, path, False))}
    assert users
    assert all(module.startswith("web/") for module in users), users


def test_only_the_core_knows_its_insides(sources: Sources) -> None:
    """``web`` and ``cli`` reach the device through the Engine protocol."""
    inside = ("svd_ui.core.", "recipes.nano.")
    users = {
        module
        for module, (path, tree) in sources.items()
        if any(f"{target}.".startswith(inside) for target in imports(tree, path, False))
    }
    assert not {module for module in users if module.startswith(("web/", "cli/", "jobs/", "hub/", "media/"))}


def root(module: str) -> str:
    return module.split(".")[0]
