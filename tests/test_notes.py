"""Facts stay facts: stored as code and parameters, told in words at the edge, and never read back from the words."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from svd_ui import settings_tag
from svd_ui.assets import Assets
from svd_ui.events import Effective, Result
from svd_ui.jobs.service import open_store
from svd_ui.media.video import Mp4Writer, read_comment
from svd_ui.notes import REMEDIES, SENTENCES, Note, read_notes, remedy, sentence
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings

PACKAGE = Path(__file__).resolve().parent.parent / "svd_ui"
REF = "sha256:" + "0" * 64
COST = Note.of("cost_share", share=0.234)
APPROXIMATE = Note.of(
    "approximate", facts=[Note.of("few_step_weights"), Note.of("unguided_above", sigma=5.0)], cost=COST
)
USED = Effective(
    profile="8gb", decode_chunk_size=2, attention="sdpa", dtype="float16", device="x", reasons=(APPROXIMATE,)
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, _env_file=None)


def trees() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text("utf-8"))


def result(**more: Any) -> Result:
    return Result(request=GenerationRequest(image=REF, seed=1), image=REF, effective=USED, **more)


# Sentences


def test_notes_inside_a_note_are_told_with_it() -> None:
    text = "Approximate: few-step model; no guidance above noise level 5. About 23% of the work at full quality."
    assert sentence(APPROXIMATE) == text
    assert sentence(Note.of("approximate", facts=[Note.of("few_step_weights")])) == "Approximate: few-step model."


@pytest.mark.parametrize(("count", "said"), [(1, "1 tile at"), (2, "2 tiles at")])
def test_one_is_told_apart_from_several(count: int, said: str) -> None:
    assert said in sentence(Note.of("fewer_tiles", count=count))


def test_a_remedy_names_every_change() -> None:
    values = {"profile": "6gb", "decode_chunk_size": 2, "width": 512, "height": 320, "num_frames": 14}
    text = "Use the 6 GB profile and decode 2 frames at a time and make it 512x320 and make 14 frames"
    assert remedy(values) == text


@pytest.mark.parametrize(
    ("note", "said"),
    [
        (Note.of("wobble.too_small", text="The wobble is too small."), "The wobble is too small."),
        (Note.of("of_tomorrow", count=3), "of_tomorrow"),
        (Note.of("cost_share", share="much"), "cost_share"),
        (Note.of("cost_share", share="much", text="Much."), "Much."),
        (Note.of("not_compiled", why={"strange": 1}), "not_compiled"),
        (None, ""),
    ],
)
def test_what_cannot_be_told_shows_its_text_or_its_code(note: Note | None, said: str) -> None:
    assert sentence(note) == said


def test_every_code_that_is_used_has_its_sentence_and_no_sentence_is_left_over() -> None:
    used = {"text", "approximations", "profile", "attention", *REMEDIES.values()}
    for _, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Note.of":
                used |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
    assert used == set(SENTENCES)


# Stored and read


def test_parameters_are_plain_json() -> None:
    note = Note.of("clip_needs", needed_gb=1.5, sizes=(1, 2), why=Note.of("chosen"))
    assert Note.model_validate_json(note.model_dump_json()) == note
    assert read_notes(json.loads(json.dumps([note.model_dump()]))) == (note,)


def test_sentences_of_older_releases_are_kept_as_they_are() -> None:
    old = {**result().model_dump(mode="json"), "notes": ["Memory ran out."]}
    assert [sentence(note) for note in Result.model_validate(old).notes] == ["Memory ran out."]
    assert [sentence(note) for note in read_notes(["Old.", {"no": "note"}, 7])] == ["Old.", "{'no': 'note'}", "7"]


def test_the_history_keeps_notes_of_old_and_new_rows(settings: Settings) -> None:
    notes = [APPROXIMATE.model_dump(), "Memory ran out."]
    with open_store(settings) as store:
        kept = Assets.of(settings).keep(Image.new("RGB", (64, 64)))
        job = store.submit(GenerationRequest(image=kept, seed=1), "ann")
        with store._database.write() as sql:
            made = result(notes=(APPROXIMATE,)).model_dump_json()
            sql.execute("UPDATE jobs SET notes = ?, result = ? WHERE id = ?", (json.dumps(notes), made, job.id))
        (seen,) = store.history()
    assert seen.notes == (APPROXIMATE, Note.of("text", text="Memory ran out."))
    assert seen.result == result(notes=(APPROXIMATE,))


def test_a_clips_own_settings_carry_its_reasons_as_facts(tmp_path: Path) -> None:
    comment = settings_tag.tag(GenerationRequest(image=REF, seed=1), USED)
    with Mp4Writer(tmp_path / "clip.mp4", 16, 16, 7, comment=comment) as writer:
        writer.add(np.zeros((2, 16, 16, 3), np.uint8))
    found = settings_tag.parse(read_comment(tmp_path / "clip.mp4") or "")
    assert Effective.model_validate(found.effective) == USED


# Who reads


PROSE = {"message", "description", "detail", "note", "reason", "notes", "reasons"}
"""Attributes that hold text for people, or what becomes it."""
READS = {"startswith", "endswith", "removeprefix", "removesuffix", "partition", "split", "find", "index", "lower"}
FOREIGN = {"engine/error_mapping.py"}
"""Texts of other people's errors are read here."""


def is_prose(node: ast.AST) -> bool:
    if isinstance(node, ast.BoolOp):
        return any(map(is_prose, node.values))
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) == "sentence" or ast.unparse(node) == "str(error)"
    return isinstance(node, ast.Attribute) and node.attr in PROSE


def test_no_logic_reads_sentences() -> None:
    """A decision is made by a code, a type or a field: words may change, and be in another language."""
    readers = []
    for name, tree in trees():
        for node in ast.walk(tree):
            compared = isinstance(node, ast.Compare) and any(map(is_prose, (node.left, *node.comparators)))
            read = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READS
            if name not in FOREIGN and (compared or (read and is_prose(node.func.value))):  # type: ignore[attr-defined]
                readers.append(f"{name}:{node.lineno}: {ast.unparse(node)}")  # type: ignore[attr-defined]
    assert not readers
