"""The supervised process: whatever happens in it, the caller gets one of our errors and the next job runs."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from svd_ui.engine import Engine, device_lock, never, worker
from svd_ui.engine.worker import GRACE, Patience, Silence, WorkerEngine
from svd_ui.engine.worker_handle import EngineFactory
from svd_ui.errors import BadInput, Cancelled, OutOfMemory, SvdUiError, TookTooLong, WorkerStopped
from svd_ui.events import Denoising, Event, Loading, Waited
from svd_ui.request import GenerationRequest
from svd_ui.settings import REPOSITORY, Settings
from tests.engine import engines
from tests.fakes import After

Make = Callable[..., WorkerEngine]


@pytest.fixture
def make(settings: Settings) -> Iterator[Make]:
    made: list[WorkerEngine] = []

    def worker(factory: EngineFactory = engines.prompted, **changes: object) -> WorkerEngine:
        made.append(WorkerEngine(settings.model_copy(update=changes), factory=factory))
        return made[-1]

    yield worker
    for engine in made:
        engine.close()


def run(engine: Engine, out: Path, prompt: str = "nothing", cancel: threading.Event | None = None) -> list[Event]:
    words = None if prompt == "nothing" else prompt
    image = "sha256:" + "0" * 64
    return list(engine.generate(GenerationRequest(image=image, prompt=words), out, cancel or threading.Event()))


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def test_events_cross_over_and_the_process_stays(make: Make, tmp_path: Path) -> None:
    engine = make()
    assert isinstance(engine, Engine)
    assert engine.describe() is None
    first = run(engine, tmp_path / "a")
    pid = engine.pid
    assert [event.stage for event in first][-2:] == ["writing", "finished"]
    assert (tmp_path / "a" / "clip.mp4").stat().st_size > 0
    assert run(engine, tmp_path / "b")[-1].stage == "finished"
    assert engine.pid == pid
    device = engine.describe()
    assert device is not None
    assert device.loaded_checkpoint == "fake"
    engine.release()
    wait_for(lambda: (seen := engine.describe()) and seen.loaded_checkpoint is None)


def test_starting_does_not_wait_and_then_tells_the_device(make: Make) -> None:
    engine = make()
    engine.start()
    assert engine.describe() is None
    wait_for(engine.describe)


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [("leaves", "exit code 3"), ("killed", "SIGKILL, probably out of memory"), ("crashes", "SIGSEGV")],
)
def test_a_dead_worker_is_named_and_the_next_job_runs(make: Make, tmp_path: Path, prompt: str, reason: str) -> None:
    engine = make()
    with pytest.raises(WorkerStopped, match=reason):
        run(engine, tmp_path, prompt)
    assert run(engine, tmp_path)[-1].stage == "finished"


def test_errors_of_the_engine_arrive_as_they_are(make: Make, tmp_path: Path) -> None:
    engine = make()
    with pytest.raises(OutOfMemory, match="while testing. Do less."):
        run(engine, tmp_path, "starves")
    pid = engine.pid
    with pytest.raises(OutOfMemory):
        run(engine, tmp_path, "surprises")
    assert engine.pid == pid


def test_an_engine_that_cannot_be_built_is_an_error_of_the_job(make: Make, tmp_path: Path) -> None:
    engine = make(engines.broken)
    with pytest.raises(WorkerStopped, match="exit code 1; see logs/"):
        run(engine, tmp_path)


def test_a_broken_device_ends_its_process_and_the_next_job_runs(make: Make, tmp_path: Path) -> None:
    """After one CUDA error every later call in that process would fail too."""
    engine = make()
    with pytest.raises(WorkerStopped, match=r"\(CUDA error: an illegal memory access was encountered\)"):
        run(engine, tmp_path, "breaks")
    assert engine.pid is None
    assert run(engine, tmp_path)[-1].stage == "finished"


def test_a_setting_that_does_not_fit_is_told_and_no_crash(make: Make, tmp_path: Path) -> None:
    engine = make(engines.misconfigured)
    with pytest.raises(BadInput, match="cuda:9"):
        run(engine, tmp_path)
    assert engine.describe() is None
    assert "cuda:9" in engine.trouble
    assert engine.pid is not None


def test_a_soft_cancel_keeps_the_process(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, cancel = make(engines.slow), threading.Event()
    monkeypatch.setattr("svd_ui.engine.worker.GRACE", 60.0)  # a busy machine's soft cancel comes before it all the same

    def watch() -> None:
        for event in engine.generate(GenerationRequest(image="sha256:" + "0" * 64), tmp_path, cancel):
            if event.stage == "denoising":
                cancel.set()

    with pytest.raises(Cancelled):
        watch()
    assert engine.pid is not None


def blocking(settings: Settings) -> bool:
    """Whether the worker says that it looks at nothing any more."""
    return any("blocks from now on" in log.read_text("utf-8") for log in (settings.data_dir / "logs").glob("*"))


def test_a_stage_that_cannot_look_is_killed(make: Make, settings: Settings, tmp_path: Path) -> None:
    engine, cancel = make(), threading.Event()
    when: list[float] = []

    def watch() -> None:
        for _ in engine.generate(GenerationRequest(prompt="blocks"), tmp_path, cancel):
            wait_for(lambda: blocking(settings))
            when.append(time.monotonic())
            cancel.set()

    with pytest.raises(Cancelled):
        watch()
    assert time.monotonic() - when[0] > GRACE - 0.1
    assert engine.pid is None
    assert run(engine, tmp_path)[-1].stage == "finished"


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no such signal here")
def test_a_frozen_worker_is_replaced_and_one_at_work_is_not(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svd_ui.engine.worker.FROZEN_SECONDS", 1.0)
    engine = make()
    with pytest.raises(WorkerStopped, match="did not answer for 1 seconds"):
        run(engine, tmp_path, "freezes")
    assert run(engine, tmp_path)[-1].stage == "finished"
    silent = Silence(Beating(steady=False), Ticks())  # type: ignore[arg-type]
    assert not any(silent.is_death() for _ in range(100)), "it computes or reads, which is no death"
    still = Silence(Beating(steady=True), Ticks())  # type: ignore[arg-type]
    assert any(still.is_death() for _ in range(100))


class Beating:
    """A child that says nothing."""

    def __init__(self, *, steady: bool) -> None:
        self.beats, self._steady, self._done = 3, steady, 0.0

    def effort(self) -> tuple[float, ...]:
        self._done += 0.0 if self._steady else 1.0
        return (self._done,)


class Ticks:
    """A clock that goes on by itself."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.2
        return self.now


def test_who_hurries_gets_the_device_back_before_the_grace_is_over(
    make: Make, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svd_ui.engine.worker.GRACE", 200.0)
    engine, cancel = make(), Hurried()

    def watch() -> None:
        for _ in engine.generate(GenerationRequest(prompt="blocks"), tmp_path, cancel):
            wait_for(lambda: blocking(settings))
            cancel.set()

    with pytest.raises(Cancelled):
        watch()
    assert engine.pid is None, "its process was ended"


def test_a_hurry_is_shorter_than_two_seconds() -> None:
    now, cancel = [0.0], Hurried()
    patience = Patience(cancel, 3600, lambda: now[0])
    cancel.set()
    assert patience.asks_to_stop()
    now[0] = 1.4
    assert not patience.exhausted(), "a step may end"
    now[0] = 1.9
    assert patience.exhausted()


class Hurried(threading.Event):
    hurries = True


def test_a_device_that_is_wanted_back_is_free_in_two_seconds_whatever_its_process_does(
    make: Make, tmp_path: Path
) -> None:
    engine, cancel = make(engines.holding), Hurried()

    def stopped() -> None:
        for _ in engine.generate(GenerationRequest(image="sha256:" + "0" * 64), tmp_path, cancel):
            cancel.set()

    with pytest.raises(Cancelled):
        stopped()
    began, pid = time.monotonic(), engine.pid
    engine.release()
    assert pid is not None and engine.pid is None
    assert time.monotonic() - began < worker.BACK + 2
    assert (device := engine.describe()) is not None and device.loaded_checkpoint is None


def test_memory_that_nobody_waits_for_is_freed_in_peace(make: Make, tmp_path: Path) -> None:
    engine = make()
    run(engine, tmp_path)
    pid = engine.pid
    engine.release()
    assert engine.pid == pid


def test_a_job_past_its_time_is_ended(make: Make, tmp_path: Path) -> None:
    with pytest.raises(TookTooLong):
        run(make(max_seconds=1), tmp_path, "blocks")


def test_a_caller_that_goes_away_leaves_no_job_behind(make: Make, tmp_path: Path) -> None:
    engine = make(engines.slow)
    events = engine.generate(GenerationRequest(image="sha256:" + "0" * 64), tmp_path, never())
    next(events)
    pid = engine.pid
    events.close()  # type: ignore[attr-defined]
    assert engine.pid == pid
    engine.prepare("other")
    device = engine.describe()
    assert device is not None
    assert device.loaded_checkpoint == "other"


def test_two_workers_take_turns_on_one_device(settings: Settings, make: Make, tmp_path: Path) -> None:
    """In one process the lock is re-entrant; another process has to wait."""
    from svd_ui.engine import device_lock

    code = f"""
        from pathlib import Path
        from svd_ui.engine import device_lock
        from svd_ui.settings import Settings
        with device_lock(Settings(_env_file=None, data_dir=Path({str(settings.data_dir)!r}), devices="cpu")):
            print("held", flush=True)
            input()
    """
    other = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    engine, cancel = make(), threading.Event()
    engine.start()
    wait_for(engine.describe)  # from now on nothing but the lock keeps the clip from being made
    threading.Timer(0.4, cancel.set).start()
    with pytest.raises(Cancelled):
        run(engine, tmp_path, cancel=cancel)
    first, *_, last = run(engine, tmp_path, cancel=After(8, other.kill))
    assert isinstance(first, Waited), "the wait would be taken for loading"
    assert first.seconds > 0.5
    assert last.stage == "finished"
    other.wait()
    with device_lock(settings):
        assert run(make(), tmp_path)[-1].stage == "finished"


def test_the_lock_is_that_of_the_device_whatever_the_settings_call_it(
    make: Make, settings: Settings, tmp_path: Path
) -> None:
    from svd_ui.engine import device_lock, lock_path

    names = {"auto", "cuda", "cuda:0"}
    engines_ = [make(engines.named, devices=name) for name in names]
    for engine in engines_:
        assert run(engine, tmp_path)[-1].stage == "finished"
    locks = {path.name for path in (settings.data_dir / "locks").iterdir()}
    assert locks == {lock_path(settings, "gpu-1234").name} == {"gpu-1234.lock"}
    with device_lock(settings, "gpu-1234"):
        assert run(engines_[0], tmp_path)[-1].stage == "finished"  # the same process may hold it twice


def test_the_engine_in_the_worker_hears_how_many_clips_wait(make: Make, settings: Settings, tmp_path: Path) -> None:
    engine = make()
    engine.expect(3)
    run(engine, tmp_path, "waits")
    engine.close()
    (log,) = (settings.data_dir / "logs").iterdir()
    assert "clips behind this one: 3" in log.read_text("utf-8")


def test_a_benchmark_is_asked_of_the_worker(make: Make, tmp_path: Path) -> None:
    engine = make()
    assert [(row.what, row.choice, row.chosen) for row in engine.benchmark()] == [("attention", "sdpa", True)]
    assert run(engine, tmp_path)[-1].stage == "finished"


def test_what_is_compiled_is_kept_in_the_data_folder(
    make: Make, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)  # torch sets it for itself once it has compiled
    engine = make()
    run(engine, tmp_path, "compiles")
    engine.close()
    (log,) = (settings.data_dir / "logs").iterdir()
    assert f"compiled code goes to {settings.compiled_dir}" in log.read_text("utf-8")


def test_the_log_keeps_output_and_no_secrets(
    make: Make, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_TOKEN", "open-sesame")
    engine = make()
    run(engine, tmp_path, "prints")
    engine.close()
    (log,) = (settings.data_dir / "logs").iterdir()
    text = log.read_text("utf-8")
    assert "to stdout (secret)" in text
    assert "to stderr with (secret)" in text


def test_closed_means_closed(make: Make, tmp_path: Path) -> None:
    engine = make()
    run(engine, tmp_path)
    pid = engine.pid
    engine.close()
    assert pid is not None
    assert not psutil.pid_exists(pid)
    with pytest.raises(SvdUiError):
        run(engine, tmp_path)


PARENT = """
    import os, sys
    from pathlib import Path
    from svd_ui.engine import never
    from svd_ui.engine.worker import WorkerEngine
    from svd_ui.request import GenerationRequest
    from svd_ui.settings import Settings
    from tests.engine import engines

    assert __name__ == "__main__", "the worker must not run its caller's script again"
    engine = WorkerEngine(Settings(_env_file=None, data_dir=Path(sys.argv[1]), devices="cpu"), factory=engines.prompted)
    events = list(engine.generate(GenerationRequest(image="sha256:" + "0" * 64), Path(sys.argv[1]), never()))
    print(events[-1].stage, engine.pid, sorted({"torch", "diffusers", "transformers"} & set(sys.modules)), flush=True)
    os._exit(0) if sys.argv[2] == "abruptly" else engine.close()
"""


@pytest.mark.parametrize("end", ["abruptly", "politely"])
def test_the_parent_never_imports_torch_and_takes_its_worker_along(tmp_path: Path, end: str) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(textwrap.dedent(PARENT), "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, script, tmp_path / "data", end], env=environment, capture_output=True, text=True, check=True
    )
    stage, pid, modules = done.stdout.split(maxsplit=2)
    assert (stage, modules.strip()) == ("finished", "[]")
    wait_for(lambda: not psutil.pid_exists(int(pid)))


@pytest.mark.slow
def test_the_real_engine_in_its_worker(settings: Settings, tiny: Path, image: str, tmp_path: Path) -> None:
    """The default factory on a tiny pipeline: a clip, its release, a clip again."""
    engine = WorkerEngine(settings.model_copy(update={"checkpoint_dirs": str(tiny)}), "cpu")
    request = GenerationRequest(image=image, checkpoint="local:tiny", seed=1)
    try:
        for name in ("first", "second"):
            assert list(engine.generate(request, tmp_path / name, never()))[-1].stage == "finished"
            device = engine.describe()
            assert device is not None
            assert device.loaded_checkpoint == "local:tiny"
            engine.release()
        one, two = ((tmp_path / name / "latents.safetensors").read_bytes() for name in ("first", "second"))
        assert one == two
    finally:
        engine.close()


def test_a_device_that_falls_off_the_bus_ends_its_worker_and_no_job(make: Make, tmp_path: Path) -> None:
    """A new process does not find it any more: that is no fault of what it is asked to make."""
    engine = make(engines.off_the_bus)
    engine.start()
    wait_for(engine.describe)
    with pytest.raises(WorkerStopped, match="GPU is lost"):
        run(engine, tmp_path)
    with pytest.raises(WorkerStopped, match="There is no device 'cuda:0' here"):
        run(engine, tmp_path)
    with pytest.raises(WorkerStopped, match="There is no device 'cuda:0' here"):
        engine.probe(never())
    (engine._settings.data_dir / "gone").unlink()
    engine.probe(never())
    assert engine.describe() is not None
    assert not engine.trouble


def test_a_worker_of_two_devices_holds_both(make: Make, settings: Settings, tmp_path: Path) -> None:
    engine, cancel = make(engines.two_devices), threading.Event()
    for id in ("gpu-0", "gpu-1"):
        with device_lock(settings, id):
            pass
    engine.start()
    wait_for(engine.describe)
    assert engine._locks() == ["gpu-0", "gpu-1"]
    assert run(engine, tmp_path, cancel=cancel)[-1].stage == "finished"


def test_tiles_that_are_cancelled_on_the_way_are_told_to_the_process(make: Make, tmp_path: Path) -> None:
    class Losing(threading.Event):
        places = frozenset[int]()

        def left_out(self) -> frozenset[int]:
            return self.places

    cancel = Losing()
    events = make(engines.tiles).generate(GenerationRequest(image="sha256:" + "0" * 64), tmp_path, cancel)
    assert isinstance(next(events), Denoising)
    cancel.places = frozenset({3, 1})
    (said,) = list(events)
    assert isinstance(said, Loading)
    assert said.title == "1,3"


def test_a_process_that_cannot_be_started_is_a_worker_that_stopped(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr("svd_ui.engine.worker_handle.subprocess.Popen", no)
    with pytest.raises(WorkerStopped, match="Cannot allocate memory"):
        run(make(), tmp_path)
