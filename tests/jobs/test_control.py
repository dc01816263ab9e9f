"""Cancel, delete with undo, and whose job it is."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from svd_ui.assets import Assets
from svd_ui.catalog import CheckpointRow
from svd_ui.engine import CancelToken
from svd_ui.errors import BadInput, Cancelled, HubOffline, NotFound
from svd_ui.events import Downloading
from svd_ui.hub import Hub
from svd_ui.jobs.service import JobService, open_store
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from svd_ui.validation import validate
from tests.fakes import FakeEngine, picture
from tests.jobs.conftest import Serve, ended, until


def test_cancel_while_queued_never_reaches_the_engine(serve: Serve, request_: GenerationRequest) -> None:
    gate = threading.Event()
    engine = FakeEngine(steps=1, delay=0.0, gate=gate)
    service = serve(engine)
    running, waiting = service.submit(request_, "ann"), service.submit(request_, "ann")
    assert service.cancel(waiting.id).state == "cancelled"
    gate.set()
    assert ended(service, running).state == "finished"
    assert len(engine.calls) == 1


def test_cancel_while_running_stops_within_a_step_and_the_next_runs(serve: Serve, request_: GenerationRequest) -> None:
    service = serve(FakeEngine(steps=100, delay=0.5))
    job = service.submit(request_, "ann")
    next_job = service.submit(request_.model_copy(update={"num_inference_steps": 1}), "ann")
    until(lambda: service.get(job.id).state == "denoising")
    service.cancel(job.id)
    stopped = ended(service, job)
    assert stopped.state == "cancelled"
    assert stopped.error is None
    assert ended(service, next_job).state == "finished"


def test_cancel_from_elsewhere_through_the_same_folder(
    serve: Serve, settings: Settings, request_: GenerationRequest
) -> None:
    service = serve(FakeEngine(steps=100, delay=0.5))
    job = service.submit(request_, "ann")
    with open_store(settings) as other:
        until(lambda: other.get(job.id).state == "denoising")
        other.cancel(job.id)
        assert ended(other, job).state == "cancelled"


def test_cancel_of_an_ended_job_changes_nothing(serve: Serve, request_: GenerationRequest) -> None:
    service = serve(FakeEngine(steps=1, delay=0.0))
    done = ended(service, service.submit(request_, "ann"))
    assert service.cancel(done.id) == done


def test_delete_hides_at_once_undelete_brings_back_and_an_hour_removes(
    serve: Serve, settings: Settings, request_: GenerationRequest
) -> None:
    service = serve()
    done = ended(service, service.submit(request_, "ann"))
    folder = settings.jobs_dir / done.id
    service.delete(done.id)
    assert service.history() == []
    with pytest.raises(NotFound):
        service.get(done.id)
    service._housekeeping.purge(time.time() - 3600)
    assert folder.is_dir()
    assert service.undelete(done.id) == done
    service.delete(done.id)
    picture = Assets.of(settings).path(done.result.image)  # type: ignore[union-attr]
    service._housekeeping.purge(time.time() + 1)
    assert not folder.exists()
    assert not picture.exists()
    with pytest.raises(NotFound):
        service.undelete(done.id)


def test_a_picture_that_another_job_uses_stays(serve: Serve, settings: Settings, request_: GenerationRequest) -> None:
    service = serve(FakeEngine(steps=1, delay=0.0, settings=settings))
    first, second = (ended(service, service.submit(request_, "ann")) for _ in range(2))
    service.delete(first.id)
    service._housekeeping.purge(time.time() + 1)
    assert Assets.of(settings).path(second.request.image or "").is_file()


def test_pictures_of_a_method_are_kept_and_go_with_their_job(
    serve: Serve, settings: Settings, request_: GenerationRequest
) -> None:
    service, assets = serve(), Assets.of(settings)
    end, between = assets.keep(picture(0.5)), assets.keep(picture(0.7))
    method = {"kind": "end_frame", "image": end, "keys": f"0.4={between}"}
    job = ended(service, service.submit(validate({**request_.model_dump(), "method": method}), "ann"))
    files = [assets.path(ref) for ref in (end, between)]
    for path in files:
        os.utime(path, (job.created - 60,) * 2)
    service._housekeeping.sweep(job.created - 30)
    assert all(path.exists() for path in files)
    service.delete(job.id)
    service._housekeeping.purge(time.time() + 1)
    assert not any(path.exists() for path in files)


def test_a_picture_of_a_method_that_is_not_here_is_refused_before_the_queue(
    serve: Serve, request_: GenerationRequest
) -> None:
    service = serve()
    request = validate({**request_.model_dump(), "method": {"kind": "lock", "mask": f"sha256:{'0' * 64}"}})
    with pytest.raises(BadInput, match="Mask picture: the picture is gone") as error:
        service.submit(request, "ann")
    assert error.value.field == "method.lock.mask"
    assert service.history() == []


def test_pictures_that_never_became_a_job_go_after_a_day(
    serve: Serve, settings: Settings, request_: GenerationRequest
) -> None:
    """Whoever may upload could fill the disk with them."""
    service, assets = serve(), Assets.of(settings)
    job = ended(service, service.submit(request_, "ann"))
    kept = [assets.path(ref) for ref in (request_.image, job.result.last_frame) if ref]  # type: ignore[union-attr]
    orphan, looked_at, older = (assets.path(assets.keep(picture(phase))) for phase in (0.5, 0.7, 0.9))
    times = {orphan: -60, looked_at: -60, older: -7200} | dict.fromkeys(kept, -60)
    for path, seconds in times.items():
        os.utime(path, (job.created + seconds,) * 2)
    assets.path(f"sha256:{looked_at.stem}")
    service._housekeeping.sweep(job.created - 30)
    assert not orphan.exists()
    assert looked_at.exists(), "somebody has it on a page"
    assert older.exists(), "older than this history, it may belong to another one that was put aside"
    assert all(path.exists() for path in kept)


def test_delete_of_a_running_job_stops_it(serve: Serve, request_: GenerationRequest) -> None:
    service = serve(FakeEngine(steps=100, delay=0.5))
    job = service.submit(request_, "ann")
    until(lambda: service.get(job.id).state == "denoising")
    service.delete(job.id)
    until(lambda: service._store.row(job.id, deleted=True)["state"] == "cancelled")


def test_only_the_owner_and_the_operator_may_change_or_list(settings: Settings, request_: GenerationRequest) -> None:
    with JobService(settings, slots=False, role="reader") as service:
        mine, other = service.submit(request_, "ann"), service.submit(request_, "bob")
        assert service.get(mine.id, "bob").id == mine.id  # whoever knows the id may look
        for forbidden in (service.cancel, service.delete, service.undelete):
            with pytest.raises(NotFound):
                forbidden(mine.id, "bob")
        assert [job.id for job in service.history("ann")] == [mine.id]
        assert {job.id for job in service.history()} == {mine.id, other.id}  # the operator
        assert service.cancel(mine.id, "ann").state == "cancelled"
        assert service.cancel(other.id).state == "cancelled"


class SlowHub(Hub):
    """Fetches in ticks until cancelled, or refuses."""

    def __init__(self, settings: Settings, error: Exception | None = None) -> None:
        super().__init__(settings, cache=settings.data_dir / "hub")
        self.error = error

    def fetch(self, row: CheckpointRow, cancel: CancelToken) -> Iterator[Downloading]:
        for tick in range(100_000):
            if self.error is not None:
                raise self.error
            if cancel.is_set():
                raise Cancelled()
            yield Downloading(
                checkpoint="svd",
                done_bytes=min(tick, 99) * 45_000_000,
                total_bytes=4_500_000_000,
                bytes_per_second=35_000_000.0,
            )
            time.sleep(0.05)


def test_a_download_shows_bytes_beside_the_clips_and_can_be_cancelled(
    serve: Serve, settings: Settings, request_: GenerationRequest
) -> None:
    service = serve(hub=SlowHub(settings))
    job = service.download("svd", "ann")
    assert service.download("svd", "bob").id == job.id  # not twice
    seen = until(lambda: (now := service.get(job.id)).state == "downloading" and now)
    assert "of 4.5 GB, 35 MB/s" in seen.message
    assert seen.eta_seconds is not None
    assert ended(service, service.submit(request_, "ann")).state == "finished"  # not held up
    service.cancel(job.id)
    assert ended(service, job).state == "cancelled"
    assert all(entry.id != job.id for entry in service.history())


def test_a_refused_download_says_why(serve: Serve, settings: Settings) -> None:
    service = serve(hub=SlowHub(settings, HubOffline(title="SVD", folder="models")))
    failed = ended(service, service.download("svd", "ann"))
    assert failed.error is not None
    assert failed.error["code"] == "hub_offline"


def test_run_inline_records_the_same_and_ends_when_left(settings: Settings, request_: GenerationRequest) -> None:
    engine = FakeEngine(settings=settings, steps=3)
    with JobService(settings, engine, slots=False, role="cli") as service:
        seen = list(service.run_inline(request_, "ann"))
        assert seen[-1].state == "finished"
        assert {"loading", "denoising", "decoding"} <= {job.state for job in seen}
        assert service.history()[0] == seen[-1]
        left = service.run_inline(request_, "ann")
        job = next(left)
        next(left)
        left.close()
        assert service.get(job.id).state == "cancelled"


def test_files_of_other_jobs_are_out_of_reach(serve: Serve, settings: Settings, request_: GenerationRequest) -> None:
    service = serve(FakeEngine(steps=1, delay=0.0))
    done = ended(service, service.submit(request_, "ann"))
    assert done.result is not None
    Path(settings.jobs_dir / "other.mp4").write_bytes(b"x")
    forged = done.model_copy(update={"result": done.result.model_copy(update={"video": "../other.mp4"})})
    assert service.file(forged, "video") is None
