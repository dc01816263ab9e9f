"""Clips on a real Ray of this machine, two replicas: spread, killed, cancelled, deployed again, and the one with the weights first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from svd_ui.assets import Assets
from svd_ui.engine.cluster.deploying import Bounds, Deployment, delete, deploy, status
from svd_ui.engine.ray import RayEngine, engines_of
from svd_ui.errors import Cancelled, ClusterUnusable
from svd_ui.events import Denoising
from svd_ui.jobs import Job
from svd_ui.jobs.compose import compose
from svd_ui.jobs.service import JobService
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.cluster.conftest import Cluster
from tests.cluster.engines import keeping, unhurried
from tests.fakes import picture

pytestmark = pytest.mark.cluster  # in this order: those that kill replicas come last, and wait for none
TWO = Bounds(2, 2)


def replicas_of(cluster: Cluster) -> Deployment:
    return Deployment(TWO, gpus=0, cpus=0.5, data_dir=str(cluster.folder / "replicas"), factory=keeping)


@pytest.fixture(scope="module")
def cluster(ray_cluster: Cluster) -> Cluster:
    deploy(ray_cluster.address, replicas_of(ray_cluster), wait=120)
    return ray_cluster


@pytest.fixture
def settings(cluster: Cluster, tmp_path: Path) -> Settings:
    return cluster.settings(tmp_path / "page")


@pytest.fixture
def page(settings: Settings) -> Iterator[JobService]:
    with compose(settings) as jobs:
        yield jobs


@pytest.fixture
def engine(settings: Settings) -> Iterator[RayEngine]:
    engine = engines_of(settings)[0]
    yield engine
    engine.close()


def ready(settings: Settings) -> int:
    return sum(replica["device"] is not None for replica in status(settings.cluster)["replicas"].values())


def devices(cluster: Cluster) -> set[str]:
    """What the workers of the replicas said their devices are."""
    return {one["device"]["name"] for one in status(cluster.address)["replicas"].values() if one["device"]}


def until(is_so: Callable[[], object], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"not in {seconds} s: {what}"
        time.sleep(0.05)


def asked(settings: Settings, steps: int = 1, **values: str) -> GenerationRequest:
    image = Assets.of(settings).keep(picture(0.3))
    return GenerationRequest(image=image, seed=1, num_inference_steps=steps, **values)


def pids(jobs: JobService) -> list[str]:
    return [device.name for seat in jobs._rotation.seats if (device := seat.engine.describe()) is not None]


def ended(page: JobService, ids: list[str]) -> list[Job]:
    return [page.wait(id, 90) for id in ids]


def at_step(page: JobService, id: str, step: int) -> None:
    until(lambda: page.get(id).state == "denoising" and (page.get(id).step or 0) >= step, f"step {step}")


def replica_of(cluster: Cluster) -> int:
    """The process of the replica that makes a clip now."""
    found: list[int] = []

    def look() -> bool:
        replicas = status(cluster.address)["replicas"].values()
        found[:] = [int(one["device"]["name"]) for one in replicas if one["session"] and one["device"]]
        return bool(found)

    until(look, "a replica at work")
    return found[0]


def test_forty_clips_are_spread_over_both_replicas(page: JobService, settings: Settings) -> None:
    until(lambda: ready(settings) == 2, "two replicas")
    ids = [page.submit(asked(settings), "a").id for _ in range(40)]
    seen: Counter[str] = Counter()
    for job in ended(page, ids):
        assert job.state == "finished", job.error
        assert (settings.jobs_dir / job.id / "clip.mp4").stat().st_size
        seen.update(set(pids(page)))
    assert len(seen) == 2


def test_a_clip_goes_to_the_replica_that_has_its_checkpoint(engine: RayEngine, settings: Settings) -> None:
    until(lambda: ready(settings) == 2, "two replicas")
    places: list[str] = []

    def make(name: str) -> str:
        list(engine.generate(asked(settings, checkpoint=name), settings.jobs_dir / name, threading.Event()))
        device = engine.describe()
        assert device is not None
        return device.name

    def settled() -> bool:
        """Both replicas have one of the two, and the desk has heard so."""
        places[:] = [make("one"), make("two")]
        return places[0] != places[1]

    until(settled, "each checkpoint on a replica of its own")
    assert [make(name) for name in ("one", "two") * 3] == places * 3


def test_a_cancel_frees_the_replica_within_a_step(cluster: Cluster, engine: RayEngine, settings: Settings) -> None:
    cancel = threading.Event()
    events = engine.generate(asked(settings, steps=100), settings.jobs_dir / "ab", cancel)
    next(event for event in events if isinstance(event, Denoising))
    began = time.monotonic()
    cancel.set()
    with pytest.raises(Cancelled):
        list(events)
    assert time.monotonic() - began < 5, "a step takes 0.1 s, and this machine may be busy"
    until(lambda: status(cluster.address)["running"] == 0, "nothing runs")


def test_a_new_deployment_loses_nothing_that_runs_or_waits(
    cluster: Cluster, page: JobService, settings: Settings
) -> None:
    before = devices(cluster)
    ids = [page.submit(asked(settings, steps=15), "a").id for _ in range(6)]
    at_step(page, ids[0], 1)
    deploy(cluster.address, replicas_of(cluster), wait=120)
    assert [job.error for job in ended(page, ids) if job.state != "finished"] == []
    until(lambda: len(devices(cluster)) == 2 and before.isdisjoint(devices(cluster)), "only new replicas")


def test_a_clip_whose_replica_is_killed_goes_on_from_its_step_on_another(
    cluster: Cluster, page: JobService, settings: Settings
) -> None:
    id = page.submit(asked(settings, steps=40), "a").id
    at_step(page, id, 12)
    os.kill(replica_of(cluster), signal.SIGKILL)
    (job,) = ended(page, [id])
    assert job.state == "finished"
    (went_on,) = [note for note in job.notes if note.code == "went_on"]
    assert went_on.params["step"] >= 12


def test_a_clip_that_kills_every_replica_fails_with_the_reason(page: JobService, settings: Settings) -> None:
    request = GenerationRequest(prompt="kills", seed=1, num_inference_steps=1)
    (job,) = ended(page, [page.submit(request, "a").id])
    assert job.state == "failed"
    assert "its replica was killed or lost" in job.message


@pytest.mark.slow
def test_a_page_that_is_killed_frees_its_replica(cluster: Cluster, settings: Settings) -> None:
    until(lambda: ready(settings) == 2, "two replicas")
    ref = Assets.of(settings).keep(picture(0.3))
    code = (
        "import sys, threading; from pathlib import Path; from svd_ui.settings import Settings;"
        "from svd_ui.engine.ray import engines_of; from svd_ui.request import GenerationRequest;"
        "s = Settings(_env_file=None, data_dir=Path(sys.argv[1]), cluster=sys.argv[2]);"
        "r = GenerationRequest(image=sys.argv[3], seed=1, num_inference_steps=100, prompt='slowly');"
        "[print(e.stage, flush=True) for e in engines_of(s)[0].generate(r, s.jobs_dir / 'ab', threading.Event())]"
    )
    arguments = [str(settings.data_dir), cluster.address, ref]
    page = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)
    assert page.stdout is not None
    assert any(line.strip() == "denoising" for line in page.stdout)
    page.kill()
    page.wait()
    until(lambda: not any(one["session"] for one in status(cluster.address)["replicas"].values()), "it is free", 40)
    until(lambda: status(cluster.address)["running"] == 0, "the desk has forgotten it")


@pytest.mark.slow
def test_a_clip_of_the_real_engine_goes_on_elsewhere_to_the_bit(cluster: Cluster, settings: Settings) -> None:
    from tests.tiny import save_tiny_svd

    far = cluster.folder / "real"
    for folder in (far, settings.data_dir):
        save_tiny_svd(folder / "models" / "tiny")
    request = asked(settings, steps=6, checkpoint="local:tiny")
    deploy(cluster.address, replace(replicas_of(cluster), data_dir=str(far), factory=unhurried), wait=120)
    try:
        with compose(settings) as page:
            (whole,) = ended(page, [page.submit(request, "a").id])
            id = page.submit(request, "a").id
            at_step(page, id, 3)
            replicas = status(cluster.address)["replicas"].values()
            (parent,) = {psutil.Process(one["pid"]).ppid() for one in replicas if one["session"]}
            os.kill(parent, signal.SIGKILL)
            (job,) = ended(page, [id])
        assert job.state == "finished", job.error
        assert next(note.params["step"] for note in job.notes if note.code == "went_on") >= 2
        for name in ("latents.safetensors", "clip.mp4"):
            assert (settings.jobs_dir / id / name).read_bytes() == (settings.jobs_dir / whole.id / name).read_bytes()
    finally:
        deploy(cluster.address, replicas_of(cluster), wait=120)


@pytest.mark.slow
def test_what_runs_waits_in_its_page_when_the_cluster_is_emptied(cluster: Cluster, settings: Settings) -> None:
    until(lambda: ready(settings) == 2, "two replicas")
    with compose(settings) as page:
        id = page.submit(asked(settings, steps=100), "a").id
        at_step(page, id, 3)
        assert delete(cluster.address) == 1
        with pytest.raises(ClusterUnusable, match="cluster deploy"):
            status(cluster.address)
        deploy(cluster.address, replicas_of(cluster), wait=120)
        (job,) = ended(page, [id])
        assert job.state == "finished"
        assert [note.code for note in job.notes if note.code == "went_on"]
