"""What a run of kills concludes: lost jobs, steps that were made again and other bytes are told from what is right."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from benchmarks.chaos import Chaos, Outcome, digest, rows
from benchmarks.chaos_app import settings_of
from benchmarks.report import Row
from svd_ui.jobs import Job
from svd_ui.notes import Note
from svd_ui.request import GenerationRequest

ASKED = GenerationRequest(checkpoint="nano", seed=1)


def job(state: str, id: str = "a", **values: Any) -> Job:
    return Job(id=id, owner="chaos", kind="clip", state=state, request=ASKED, created=0.0, **values)


@pytest.fixture
def chaos(tmp_path: Path) -> Chaos:
    found = Chaos(tmp_path, random.Random(0))
    found.kills.append(("worker", "a", "denoising", 7))
    return found


def concluded(chaos: Chaos, *ended: Job, content: bytes = b"clip") -> dict[str, Row]:
    settings = settings_of(chaos.data)
    for one in ended:
        path = settings.jobs_dir / one.id / "clip.mp4"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    (chaos.data / "right").write_bytes(b"clip")
    expected = {("nano", 1): digest(chaos.data / "right")}
    return {row.what: row for row in rows([Outcome(settings, chaos, list(ended), expected)])}


def test_a_clip_that_went_on_is_told_from_one_that_began_anew(chaos: Chaos) -> None:
    chaos.judge(job("loading"))
    assert chaos.continued == []  # it has not come to where it would say so
    chaos.judge(job("denoising", step=9, notes=(Note.of("went_on", step=7, total=30),)))
    chaos.judge(job("denoising", step=2))
    assert chaos.continued == [True, False]
    assert not concluded(chaos, job("finished"))["went on from that step"].passed


def test_a_job_is_killed_twice_only_where_it_has_come_further(chaos: Chaos) -> None:
    assert chaos.is_ahead(job("denoising", step=8))
    assert chaos.is_ahead(job("decoding", step=0))
    assert not chaos.is_ahead(job("denoising", step=7))


def test_what_is_right_passes(chaos: Chaos) -> None:
    chaos.continued.append(True)
    assert all(row.passed is not False for row in concluded(chaos, job("finished")).values())


def test_lost_jobs_and_other_bytes_do_not_pass(chaos: Chaos) -> None:
    found = concluded(chaos, job("finished"), job("failed", "b"), content=b"another")
    assert not found["jobs lost"].passed
    assert not found["finished clips equal to the bit"].passed
