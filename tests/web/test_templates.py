"""Tags live in templates, and only there; what people typed cannot become one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError, nodes

from svd_ui.web.formatting import FOLDER, environment, html, notice

PACKAGE = FOLDER.parent.parent
TAG = re.compile(
    r"</?(a|abbr|article|b|button|code|details|div|em|fieldset|figcaption|figure|footer|h[1-6]|header|i|img|input|kbd|"
    r"label|legend|li|link|meta|ol|output|p|path|rect|script|section|small|span|strong|style|summary|svg|table|ul|video)"
    r"(\s+[a-z-]+(=|\s|>)|\s*/?>)"
)


def test_no_tag_stands_in_python() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and TAG.search(node.value)
    ]
    assert not found
    assert TAG.search('<div class="x">') and TAG.search("</b>") and not TAG.search("<job id>/<index>")


def test_every_template_is_shown_somewhere() -> None:
    """By a view, or by another template, whose name may be put together at run time."""
    sources = [path.read_text("utf-8") for path in (*PACKAGE.rglob("*.py"), *FOLDER.rglob("*.html"))]
    text = "\n".join(sources)
    for path in FOLDER.rglob("*.html"):
        name = path.relative_to(FOLDER).with_suffix("").as_posix()
        stem = name.replace("animate/stage-", "") if name.startswith("animate/stage-") else name
        assert f'"{stem}' in text, f"nothing shows {name}"


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.html")), ids=lambda path: path.stem)
def test_templates_can_be_read_and_trust_nobody(path: Path) -> None:
    """``safe`` is for the page's own scripts and styles alone."""
    tree = environment().parse(path.read_text("utf-8"))
    trusted = [node for node in tree.find_all(nodes.Filter) if node.name == "safe"]
    assert len(trusted) == (2 if path.stem == "head" else 0)


def test_what_people_typed_is_text() -> None:
    assert notice("<img src=x onerror=alert(1)>") == (
        '<p class="notice bad" role="alert">&lt;img src=x onerror=alert(1)&gt;</p>'
    )


def test_a_fact_that_a_view_forgot_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        html("notice", text="x")


def test_line_breaks_of_a_template_are_not_in_the_page() -> None:
    assert "\n" not in html("header")
    made = environment().from_string("<p>one\n  two</p>\n<b>\n  three\n</b>")
    assert made.render() == "<p>one two</p><b>three</b>"
