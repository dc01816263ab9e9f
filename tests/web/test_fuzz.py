"""The short form of ``benchmarks/fuzz``: hostile requests and files against a page that strangers reach."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from benchmarks.fuzz import archives, clips, pictures
from benchmarks.fuzz.page import QuickEngine
from benchmarks.fuzz.requests import Fuzzer
from benchmarks.fuzz.visit import Visit
from benchmarks.fuzz.watch import Watch
from svd_ui.settings import REPOSITORY, Settings

from .conftest import serving


@pytest.fixture(scope="module")
def visit(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    data = tmp_path_factory.mktemp("data")
    settings = Settings(_env_file=None, data_dir=data, public=True, checkpoint="nano", max_visitor_jobs=1000)
    for served in serving(settings, QuickEngine(steps=1, delay=0.0, settings=settings)):
        made = Visit(Watch(served.url, (str(data), str(REPOSITORY))), random.Random(3))
        made.look()
        yield made


def test_hostile_requests_are_answered_with_words(visit: Visit) -> None:
    ids, refs = visit.first()
    fuzzer = Fuzzer(visit.watch, ids, refs, visit.events)
    fuzzer.events(60)
    fuzzer.routes(150)
    fuzzer.noise(20)
    assert sum(visit.watch.asked[kind] for kind in ("events", "routes", "noise")) > 200
    assert visit.watch.faults == []


def test_hostile_files_are_answered_with_words_and_the_next_clip_works(visit: Visit) -> None:
    chance = visit.chance
    for _ in range(25):
        visit.picture(pictures.picture(chance))
    for _ in range(8):
        visit.clip(clips.clip(chance), chance.choice(clips.ENDINGS))
    for _ in range(8):
        visit.archive(archives.archive(chance))
    assert visit.watch.asked["pictures"] == 50
    assert visit.watch.faults == []
    assert visit.plain_clip()


@pytest.mark.parametrize(
    ("status", "text", "why"),
    [
        (200, "Traceback (most recent call last):", "traceback"),
        (500, '{"error": null}', "error without words"),
        (200, 'event: error\ndata: {"error": null}\n', "error without words"),
        (500, "Internal Server Error", "bare error of the server"),
        (404, '{"error": "no file /srv/data/x.png"}', "folder of the server"),
    ],
)
def test_what_an_answer_must_not_be_is_seen(status: int, text: str, why: str) -> None:
    assert why in Watch("http://localhost", ("/srv/data",)).judged(status, text)


def test_what_an_answer_may_be_is_let_through() -> None:
    watch = Watch("http://localhost", ("/srv/data",), "/srv/data/uploads")
    for status, text in (
        (500, '{"error": "The disk is full."}'),
        (200, '{"id": "a", "error": null}'),
        (200, '{"path": "/srv/data/uploads/a.png"}'),
    ):
        assert watch.judged(status, text) == []
