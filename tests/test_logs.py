"""Log lines: readable by people or by a collector, never with a secret."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from svd_ui.logs import LogFormat, bound, line_formatter, set_up

JOB = "0123456789abcdef" * 2


def record(message: str, *args: object) -> logging.LogRecord:
    try:
        raise OSError("GET https://ann:s3cret@hub.example failed, token=hf_abcdefgh1234")
    except OSError:
        return logging.LogRecord("svd_ui.jobs", logging.ERROR, __file__, 1, message, args, sys.exc_info())


@pytest.mark.parametrize("kind", ["json", "text"])
def test_no_line_holds_a_secret_not_even_in_its_traceback(kind: LogFormat) -> None:
    line = line_formatter(kind).format(record("asked %s", "https://bob:pass@proxy:3128 with ghp_abcdefghij12"))
    assert not any(secret in line for secret in ("s3cret", "hf_abc", "bob", "pass@", "ghp_"))
    assert "OSError" in line
    assert "hub.example" in line


def test_a_line_for_a_collector_names_its_job() -> None:
    line = json.loads(line_formatter("json").format(record("job %s\nleft its slot", JOB)))
    assert (line["job"], line["level"], line["logger"]) == (JOB, "ERROR", "svd_ui.jobs")
    assert line["time"].endswith("Z")
    plain = json.loads(line_formatter("json").format(logging.LogRecord("a", logging.INFO, "", 1, "no job", (), None)))
    assert plain.keys() == {"time", "level", "logger", "message"}


@pytest.mark.parametrize("kind", ["json", "text"])
def test_values_that_go_along_are_shown_without_secrets_and_without_an_owner(kind: LogFormat) -> None:
    made = logging.LogRecord("a", logging.INFO, "", 1, "asked", (), None)
    made.__dict__ |= {"owner": "v-123", "address": "https://bob:pass@proxy:3128", "seconds": 1.5}
    line = line_formatter(kind).format(made)
    assert "1.5" in line
    assert not any(hidden in line for hidden in ("v-123", "bob", "pass@"))


def test_what_is_bound_belongs_to_every_line_also_of_a_library() -> None:
    lines = line_formatter("json")
    theirs = logging.LogRecord("diffusers", logging.INFO, "", 1, "loading", (), None)
    with bound(job=JOB, request_id="abcd1234"):
        inside = json.loads(lines.format(theirs))
    assert (inside["job"], inside["request_id"]) == (JOB, "abcd1234")
    assert "job" not in json.loads(lines.format(theirs))
    with bound(job=JOB):
        assert line_formatter("text").format(theirs).endswith(f"INFO diffusers loading job={JOB}")


@pytest.fixture
def begun() -> Iterator[Callable[..., logging.Logger]]:
    """``set_up`` as at the start of a process, and our logger; handlers and levels are put back as they were."""
    root, ours = logging.getLogger(), logging.getLogger("svd_ui")
    handlers, levels = root.handlers[:], (root.level, ours.level)

    def begin(**values: Any) -> logging.Logger:
        handlers[:], root.handlers = root.handlers, []
        set_up("text", **values)
        return ours

    yield begin
    for handler in root.handlers:
        handler.close()
    root.handlers = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def test_the_log_file_holds_our_news_and_is_put_aside_when_it_is_full(
    begun: Callable[..., logging.Logger], tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "svd-ui.log"
    log = begun(file=path, megabytes=0.02, files=2)
    for number in range(100):
        log.info("%s token=hf_abcdefgh1234 %s", number, "long " * 200)
    kept = sorted(file.name for file in path.parent.iterdir())
    assert kept == ["svd-ui.log", "svd-ui.log.1", "svd-ui.log.2"]
    assert all(file.stat().st_size <= 20_000 for file in path.parent.iterdir())
    assert "hf_abc" not in path.read_text("utf-8")
    assert " 99 " in path.read_text("utf-8")


def test_people_at_a_terminal_are_told_of_trouble_alone(
    begun: Callable[..., logging.Logger], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = begun(file=tmp_path / "svd-ui.log")
    log.info("a job began")
    log.warning("a disk is full")
    told = capsys.readouterr().err
    assert "a disk is full" in told
    assert "a job began" not in told
