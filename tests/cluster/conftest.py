"""A real Ray with two replicas, for as long as one file of tests; and its desk without Ray, for all others."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from svd_ui.settings import REPOSITORY, Settings

# Ray reads these when it is imported. A token of this run, so that nobody else on this machine gets in.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16), "RAY_USAGE_STATS_ENABLED": "0"}


@dataclass(frozen=True)
class Cluster:
    """``address`` of a running Ray; ``folder`` is for whatever replicas keep."""

    address: str
    folder: Path

    def settings(self, data_dir: Path) -> Settings:
        """Of a page that uses it."""
        return Settings(_env_file=None, data_dir=data_dir, cluster=self.address, cluster_wait=60)


@pytest.fixture(scope="module")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Ray as a process of its own, whose end is the end of all that it started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
        folder = tmp_path_factory.mktemp("cluster")
        head = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.head"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            assert head.stdin is not None
            assert head.stdout is not None
            address = head.stdout.readline().strip()
            assert address, "Ray did not start"
            yield Cluster(address, folder)
        finally:
            _leave()
            family = psutil.Process(head.pid).children(recursive=True)
            head.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                head.wait(30)
            head.kill()
            for process in psutil.wait_procs(family, timeout=10)[1]:
                with suppress(psutil.Error):
                    process.kill()


def _leave() -> None:
    import ray

    ray.shutdown()
