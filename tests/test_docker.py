"""The Dockerfile, read without Docker: what it copies exists and reaches it, the targets are there, nothing secret goes in."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from fnmatch import fnmatch
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent


class Stage(NamedTuple):
    """One ``FROM base AS name`` and the instructions under it: (instruction, arguments)."""

    base: str
    steps: list[tuple[str, str]]


def stages() -> dict[str, Stage]:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found: dict[str, Stage] = {}
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name] = Stage(base, [])
        elif found:
            found[next(reversed(found))].steps.append((word, rest.strip()))
    return found


STAGES = stages()


def lineage(name: str) -> list[tuple[str, str]]:
    """The steps of a stage after those of the stages it stands on."""
    stage = STAGES[name]
    return [*(lineage(stage.base) if stage.base in STAGES else []), *stage.steps]


def value(name: str, instruction: str) -> str:
    """The last argument that an instruction was given in a stage and those under it."""
    return [rest for word, rest in lineage(name) if word == instruction][-1]


def copied() -> set[str]:
    """Everything that COPY takes from the checkout."""
    rows = [rest.split() for stage in STAGES.values() for word, rest in stage.steps if word == "COPY"]
    return {source for row in rows if not row[0].startswith("--from") for source in row[:-1]}


def ignored() -> list[str]:
    return [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and line[0] != "#"]


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_target_serves_the_page_to_its_port_as_a_plain_user_with_its_data_in_a_volume(target: str) -> None:
    assert value(target, "USER") not in {"root", "0"}
    assert value(target, "EXPOSE") == "7860"
    assert value(target, "VOLUME") == "/data"
    environment = dict(pair.split("=", 1) for pair in shlex.split(value(target, "ENV")))
    assert environment["SVD_UI_DATA_DIR"] == "/data"
    assert environment["SVD_UI_HOST"] == "0.0.0.0"
    assert environment["PYTHONPATH"] == value(target, "WORKDIR"), "processes that Ray starts find the app"
    command = [*json.loads(value(target, "ENTRYPOINT")), *json.loads(value(target, "CMD"))]
    assert command == ["/app/.venv/bin/python", "-m", "svd_ui", "serve"]


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_target_has_the_packages_of_its_kind_and_the_user_comes_last(target: str) -> None:
    assert ("COPY", f"--from={target}-packages /app/.venv /app/.venv") in STAGES[target].steps
    assert ("RUN", f"SVD_UI_TORCH={target} sh scripts/install") in STAGES[f"{target}-packages"].steps
    assert STAGES[target].steps[-1][0] == "USER"


def test_the_name_that_an_image_gets_is_the_one_that_is_run() -> None:
    built = r"docker build --target (\w+) -t (\S+) \."
    (short,) = re.findall(built, (ROOT / "README.md").read_text("utf-8"))
    text = (ROOT / "Dockerfile").read_text("utf-8")
    names = dict(re.findall(built, text))
    assert short in names.items()
    assert set(re.findall(r"^#   docker run .* (\S+)$", text, re.MULTILINE)) == set(names.values())


def test_a_build_without_a_target_makes_the_small_image() -> None:
    assert next(reversed(STAGES)) == "cpu"


def test_the_health_check_is_a_program() -> None:
    _, _, command = value("cpu", "HEALTHCHECK").partition("CMD ")
    program = json.loads(command)
    assert program[:2] == ["/app/.venv/bin/python", "-c"]
    compile(program[2], "healthcheck", "exec")


def test_the_health_check_asks_the_page_and_no_proxy() -> None:
    program = json.loads(value("cpu", "HEALTHCHECK").partition("CMD ")[2])[1:]
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        environment = {**os.environ, "HTTP_PROXY": "http://127.0.0.1:9", "SVD_UI_PORT": str(server.server_port)}
        run = partial(subprocess.run, [sys.executable, *program], env=environment, capture_output=True, check=False)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        assert run().returncode == 0
        server.shutdown()
    assert run().returncode != 0


def test_what_is_copied_exists_and_is_what_the_ignore_file_lets_through() -> None:
    assert all((ROOT / source).exists() for source in copied())
    assert ignored()[0] == "*"
    assert {line[1:] for line in ignored() if line.startswith("!")} == copied()


def test_every_folder_that_the_app_reads_is_copied() -> None:
    folders = set(
        re.findall(r'REPOSITORY / "(\w+)"', "".join(p.read_text("utf-8") for p in ROOT.glob("svd_ui/**/*.py")))
    )
    mounted = {"models"}  # weights come from the volume
    assert folders - mounted <= copied()


def test_nothing_secret_goes_in() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    instructions = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert not re.search(r"(?i)token|password|secret|SVD_UI_AUTH", instructions)
    assert not any(fnmatch(name, pattern) for name in (".env", ".git", "models") for pattern in copied())
