"""What people read: one word for one thing, stages in one form, nothing that has to be read twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from svd_ui.finetune import TrainRequest
from svd_ui.methods import METHODS
from svd_ui.notes import WORDS
from svd_ui.post import POST
from svd_ui.request import GenerationRequest, LoraRef, Wall
from svd_ui.settings import REPOSITORY, Settings

ENDED = {"queued", "finished", "failed", "cancelled", "interrupted", "stopped"}
GONE = (
    r"look(ed|ing)? through", r"\bgo(es|ing)? on\b", r"numbers trained", r"\btold\b", r"(?<!\{)\bsigma\b", r"the full result",
    r"exact clip", r"mended", r"nobody agreed", r"brings back", r"left out", r"sees fit",
)  # fmt: skip
"""Phrases that stood there once, with a word for each in ``CONTRIBUTING.md`` or none."""


def fields(model: type[BaseModel]) -> Iterator[str]:
    for info in model.model_fields.values():
        yield from filter(None, (info.title, info.description))


def read() -> Iterator[str]:
    kinds = [*METHODS.classes().values(), *POST.classes().values()]
    for model in (GenerationRequest, LoraRef, Wall, TrainRequest, Settings, *kinds):
        yield from fields(model)
    yield from (kind.summary() for kind in kinds)
    yield from re.findall(r'"(?:[^"\\]|\\.)*"', json.dumps(WORDS))
    for path in sorted((REPOSITORY / "svd_ui" / "web" / "templates" / "train").glob("*.html")):
        yield re.sub(r"\{[%#].*?[%#]\}", "", path.read_text("utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("phrase", GONE)
def test_a_phrase_that_had_to_be_read_twice_is_gone(phrase: str) -> None:
    assert [text for text in read() if re.search(phrase, text, re.IGNORECASE)] == []


@pytest.mark.parametrize("table", ["states", "stages of the command line", "states of training"])
def test_a_stage_is_what_is_being_done(table: str) -> None:
    stages = {code: said for code, said in WORDS[table].items() if code not in ENDED}
    assert all(re.match(r"\w+ing\b", said) for said in stages.values()), stages


def test_help_is_a_sentence_and_says_blank_in_one_way() -> None:
    kinds = [*METHODS.classes().values(), *POST.classes().values()]
    for model in (GenerationRequest, LoraRef, Wall, TrainRequest, *kinds):
        for name, info in model.model_fields.items():
            if name == "kind":
                continue
            assert info.description, name
            assert info.description.endswith("."), name
            assert "blank =" not in info.description, name
            assert len(info.description) <= 110, name
