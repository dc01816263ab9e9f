"""Log lines: readable by people or by a collector, never with a secret."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from svd_ui.logs import TEXT, JsonLine, Masked

JOB = "0123456789abcdef" * 2


def record(message: str, *args: object) -> logging.LogRecord:
    try:
        raise OSError("GET https://ann:s3cret@hub.example failed, token=hf_abcdefgh1234")
    except OSError:
        return logging.LogRecord("svd_ui.jobs", logging.ERROR, __file__, 1, message, args, sys.exc_info())


@pytest.mark.parametrize("formatter", [JsonLine(), Masked(TEXT)])
def test_no_line_holds_a_secret_not_even_in_its_traceback(formatter: logging.Formatter) -> None:
    line = formatter.format(record("asked %s", "https://bob:pass@proxy:3128 with ghp_abcdefghij12"))
    assert not any(secret in line for secret in ("s3cret", "hf_abc", "bob", "pass@", "ghp_"))
    assert "OSError" in line
    assert "hub.example" in line


def test_a_line_for_a_collector_names_its_job() -> None:
    line = json.loads(JsonLine().format(record("job %s\nleft its slot", JOB)))
    assert (line["job"], line["level"], line["logger"]) == (JOB, "ERROR", "svd_ui.jobs")
    assert line["time"].endswith("Z")
    plain = json.loads(JsonLine().format(logging.LogRecord("a", logging.INFO, "", 1, "no job", (), None)))
    assert plain.keys() == {"time", "level", "logger", "message"}
