"""The direction of imports, read from the source: light things never reach for heavy ones."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "svd_ui"
HEAVY = {"torch", "diffusers", "transformers", "accelerate", "xformers"}
TIER = {  # a package imports its own tier or lower
    **dict.fromkeys(
        "__init__ cancel request events errors settings catalog validation presets assets stored stills hub media".split(),
        0,
    ),
    **dict.fromkeys("core post train".split(), 1),
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


@pytest.mark.parametrize("path", modules(), ids=name)
def test_a_module_imports_its_own_tier_or_lower(path: Path) -> None:
    own = TIER[name(path).split("/")[0]]
    tree = ast.parse(path.read_text("utf-8"))
    targets = [module.split(".")[1] for module in imports(tree, path, top_only=False) if module.startswith("svd_ui.")]
    above = [target for target in targets if TIER.get(target, 0) > own]
    assert not above, f"{name(path)} imports {above}"


@pytest.mark.parametrize("path", modules(), ids=name)
def test_torch_stays_in_the_core(path: Path) -> None:
    if TIER[name(path).split("/")[0]] == 1:
        return
    # The local engine reaches the core inside its functions, so that importing it costs nothing.
    inside_functions_allowed = name(path).startswith("engine/")
    found = imports(ast.parse(path.read_text("utf-8")), path, top_only=inside_functions_allowed)
    heavy = {module.split(".")[0] for module in found} & HEAVY
    assert not heavy, f"{name(path)} imports {heavy}"


@pytest.mark.parametrize("path", modules(), ids=name)
def test_gradio_stays_in_the_page(path: Path) -> None:
    if name(path).startswith("web/"):
        return
    assert not {m for m in imports(ast.parse(path.read_text("utf-8")), path, False) if m.split(".")[0] == "gradio"}


@pytest.mark.parametrize("path", modules(), ids=name)
def test_only_the_core_knows_its_insides(path: Path) -> None:
    """``web`` and ``cli`` reach the device through the Engine protocol."""
    if not name(path).startswith(("web/", "cli", "jobs/", "hub", "media/")):
        return
    tree = ast.parse(path.read_text("utf-8"))
    assert not [m for m in imports(tree, path, False) if m.startswith(("svd_ui.core", "svd_ui.train"))]
