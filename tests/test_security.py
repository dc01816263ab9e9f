"""docs/security.md says which test holds each line, and the list of what is installed is whole."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from importlib.metadata import version

from svd_ui.settings import REPOSITORY, Settings

PAGE = (REPOSITORY / "docs" / "security.md").read_text("utf-8")


def test_every_line_of_the_threat_model_names_a_test_that_exists() -> None:
    table = PAGE.partition("## What holds it")[2].partition("## What does not hold")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert len(lines) > 35
    for line in lines:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", line)
        assert named, line
        for file, name in named:
            tree = ast.parse((REPOSITORY / file).read_text("utf-8"))
            found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            assert name in found, f"{file} has no {name}"


def test_what_the_documents_tell_to_set_can_be_set() -> None:
    known = {f"SVD_UI_{name.upper()}" for name in Settings.model_fields}
    for path in ("docs/security.md", "docs/serving.md", "SECURITY.md", "README.md"):
        text = (REPOSITORY / path).read_text("utf-8")
        assert set(re.findall(r"\bSVD_UI_[A-Z_]+\b", text)) <= known, path


def test_the_list_of_what_is_installed_is_cyclonedx() -> None:
    printed = subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "sbom.py")],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    bill = json.loads(printed)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert f"pkg:pypi/gradio@{version('gradio')}" in {one["purl"] for one in bill["components"]}
    refs = {one["bom-ref"] for one in bill["components"]}
    (gradio,) = [one for one in bill["dependencies"] if one["ref"].startswith("pkg:pypi/gradio@")]
    assert set(gradio["dependsOn"]) <= refs
    assert any(ref.startswith("pkg:pypi/fastapi@") for ref in gradio["dependsOn"])
