"""What the engine tells of a device once it was measured."""

from __future__ import annotations

import pytest

from svd_ui.engine.local import LocalEngine
from svd_ui.engine.stages import Stages
from svd_ui.settings import Settings


@pytest.mark.usefixtures("raced")
def test_a_rate_is_told_once_the_engine_is_ready(settings: Settings) -> None:
    engine = LocalEngine(settings)
    assert engine.describe().flops_per_second is None
    engine.prepare(None)
    rate = engine.describe().flops_per_second
    assert rate is not None
    assert LocalEngine(settings).describe().flops_per_second == rate


def test_a_device_that_cannot_be_measured_is_no_crash(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(plan: object) -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr("svd_ui.core.autotune.device_benchmark.quick_benchmark", full)
    Stages(settings).warm_up()
    Stages(settings.model_copy(update={"devices": "cuda:77"})).warm_up()
    assert "was not measured: CUDA out of memory" in caplog.text


def test_the_threads_in_use_are_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("svd_ui.core.autotune.microbenchmarks.thread_counts", lambda: [5, 1])
    assert LocalEngine(settings).describe().threads == 5


def test_a_benchmark_is_the_devices_own(settings: Settings) -> None:
    rows = LocalEngine(settings).benchmark()
    assert {"attention", "number format", "matrix products"} < {row.what for row in rows}
