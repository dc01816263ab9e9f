"""The same through the package ``spaces`` as a ZeroGPU Space has it: a process is forked for each clip, GPUs are lent by a service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("spaces")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="a Space runs Linux, and its processes are forked"),
]
ROOT = Path(__file__).resolve().parents[2]


class Lending(ThreadingHTTPServer):
    """The service that lends GPUs; ``asked`` are its calls. With ``quota`` nothing is left."""

    def __init__(self, quota: bool = False) -> None:
        self.asked, self.quota = list[tuple[str, dict[str, str]]](), quota
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Lending

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        self.server.asked.append((url.path, {name: values[0] for name, values in parse_qs(url.query).items()}))
        refused = url.path == "/schedule" and self.server.quota
        lent = {"idle": False, "nvidiaIndex": 0, "nvidiaUUID": "GPU-none", "allowToken": "token"}
        body = json.dumps({"left": 12, "wait": "PT3H"} if refused else lent).encode()
        self.send_response(429 if refused else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def lending(request: pytest.FixtureRequest) -> Iterator[Lending]:
    server = Lending(quota=getattr(request, "param", False))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def run(lending: Lending, tmp_path: Path, what: str) -> list[dict[str, Any]]:
    cgroup = tmp_path / "cgroup"
    cgroup.write_text("1:devices:/some/pod\n")
    env = {**os.environ, "SPACES_ZERO_GPU": "true", "ZEROGPU_PROC_SELF_CGROUP_PATH": str(cgroup)}
    env |= {"SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{lending.server_address[1]}", "HOME": str(tmp_path)}
    program = [sys.executable, "-m", "tests.engine.zero_gpu_space", str(tmp_path / "data"), what]
    done = subprocess.run(program, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert told, done.stdout[-2000:] + done.stderr[-2000:]
    return told


def test_a_clip_is_made_in_a_process_that_a_gpu_is_lent_to(lending: Lending, tmp_path: Path) -> None:
    *_, last = run(lending, tmp_path, "clip")
    assert last["elsewhere"]
    events = [name for name in last["events"] if name != "Waited"]  # the fork may take a moment
    assert (events[0], events[-1], events.count("Denoising")) == ("Loading", "Finished", 3)
    calls = dict(lending.asked)
    assert list(calls) == ["/schedule", "/allow", "/release"]
    assert calls["/schedule"]["durationSeconds"] == "60"
    assert calls["/schedule"]["token"] == "e30.e30.e30", "the GPU was asked for on nobody's behalf"
    assert calls["/release"]["fail"] == "false"


def test_stop_ends_it_there_too(lending: Lending, tmp_path: Path) -> None:
    error, last = run(lending, tmp_path, "stop")
    assert error["error"] == "cancelled"
    assert last["events"].count("Denoising") < 60
    assert [path for path, _ in lending.asked] == ["/schedule", "/allow", "/release"]


@pytest.mark.parametrize("lending", [True], indirect=True)
def test_a_quota_that_is_used_up_is_a_sentence(lending: Lending, tmp_path: Path) -> None:
    error, last = run(lending, tmp_path, "quota")
    assert error["error"] == "gpu_refused"
    assert "60s requested vs. 12s left" in error["message"]
    assert "Sign in" in error["message"]
    assert last == {"events": [], "elsewhere": False}


@pytest.mark.skipif("+cpu" in version("torch"), reason="CUDA is pretended over a build for CUDA alone")
def test_a_model_is_loaded_where_there_is_no_gpu_yet(lending: Lending, tmp_path: Path) -> None:
    (told,) = run(lending, tmp_path, "load")
    assert (told["device"], told["loaded"]) == ("cuda", "nano")
    assert told["packed"] > 20_000_000, "weights stayed behind: they would move with each clip"
