"""What every test may take for granted: nothing that this machine is, measured or left behind decides what it sees.

The app chooses by racing: the number format, threads and form of a convolution are those that were fastest here. A test
of anything else gets pinned winners; one of the races themselves asks for ``raced``. Settings of the person who runs the
tests are hidden from them, and what a test does not put elsewhere goes into a folder of the run's own.

``SVD_UI_TEST_NUMBER_FORMAT=bfloat16`` (or ``race``) runs the same tests under the race's other answer.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from svd_ui.core.autotune import BenchmarkStore
from svd_ui.settings import Settings

FOR_TESTS = ("SVD_UI_TEST_", "SVD_UI_REQUIRE_", "SVD_UI_SCREENSHOTS")
"""Variables that speak to the tests; every other one of ours is somebody's settings."""
NUMBER_FORMAT = os.environ.get("SVD_UI_TEST_NUMBER_FORMAT", "float32")
WINNERS: dict[str, Any] = {
    "number format": {"float32": 1.0, "bfloat16": 2.0},
    "temporal_conv": {"conv3d": 1.0, "conv2d": 2.0},
    "matmul": 1e11,
}
"""What the store of measurements answers where nothing was measured."""

# Before any test is imported: some read settings then, and torch counts its threads once. The environment, because the
# processes that tests start are to see it too.
for name in [name for name in os.environ if name.startswith("SVD_UI_") and not name.startswith(FOR_TESTS)]:
    del os.environ[name]
Settings.model_config["env_file"] = None
HOME = tempfile.TemporaryDirectory(prefix="svd-ui-tests-", ignore_cleanup_errors=True)  # of this run, or worker of it
os.environ["SVD_UI_DATA_DIR"] = os.path.join(HOME.name, "data")
os.environ["HF_HUB_CACHE"] = os.path.join(HOME.name, "hub")
os.environ["GRADIO_TEMP_DIR"] = os.path.join(HOME.name, "uploads")
os.environ["SVD_UI_DEVICES"] = "cpu"
os.environ["SVD_UI_ATTENTION"] = "sdpa"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models are tiny: threads cost more than they bring
measured = BenchmarkStore.get


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of long tests first, in the order of their names: short ones at the end keep all cores busy to the last."""
    long = {item.path for item in items if item.get_closest_marker("browser") or "extending" in item.path.parts}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session", autouse=True)
def _pinned() -> Iterator[None]:
    """Every race is over before it began; for the whole session, because fixtures of a session load models too."""
    with pytest.MonkeyPatch.context() as patch:
        _pin(patch, NUMBER_FORMAT)
        yield


@pytest.fixture
def raced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store as it is, for tests of what fills it: empty, until something is measured."""
    monkeypatch.setattr(BenchmarkStore, "get", measured)


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of float32's own precision, whatever the run is forced to."""
    _pin(monkeypatch, "float32")


@pytest.fixture(autouse=True)
def _as_torch_was() -> Iterator[None]:
    """Threads are torch's global state, and its numbers of chance too: no test hands either on to the next."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def _pin(patch: pytest.MonkeyPatch, number_format: str) -> None:
    winners = dict(WINNERS)
    if number_format == "race":
        del winners["number format"]
    elif number_format == "bfloat16":
        import torch

        winners["number format"] = {"float32": 2.0, "bfloat16": 1.0}
        patch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    elif number_format != "float32":
        raise pytest.UsageError(f"SVD_UI_TEST_NUMBER_FORMAT={number_format}: float32, bfloat16 or race.")

    def get(self: BenchmarkStore, key: str) -> Any:
        found = measured(self, key)
        if found is not None:
            return found
        return next((winner for what, winner in winners.items() if what in key.split(" | ")), None)

    patch.setattr(BenchmarkStore, "get", get)
