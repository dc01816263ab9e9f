"""Benchmarks report alike: limits beside figures, and a file that machines can read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.report import Row, finish, table, write_json


def test_a_limit_is_kept_or_missed_and_says_so() -> None:
    rows = [
        Row("ratio", 0.9, "x", at_most=0.96),
        Row("speed", 1.2, "x", at_least=1.3, goal=1.6),
        Row("size", 12345.0, "MB"),
        Row("card", None, at_most=1, note="no GPU here"),
    ]
    assert [row.passed for row in rows] == [True, False, None, None]
    lines = table(rows).splitlines()[2:]
    assert "<= 0.96" in lines[0] and lines[0].endswith("pass")
    assert ">= 1.3, goal >= 1.6" in lines[1] and lines[1].endswith("MISSED")
    assert "12,345 MB" in lines[2]
    assert "not run" in lines[3] and lines[3].endswith("no GPU here")


def test_the_file_tells_when_where_and_with_what(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "figures.json", "counts", "meta", [Row("ratio", 2.0, at_most=1.0)], rounds=3)
    data = json.loads((tmp_path / "new" / "figures.json").read_text("utf-8"))
    assert data["benchmark"] == "counts" and data["device"] == "meta" and data["rounds"] == 3
    assert data["date"] and data["versions"]["torch"]
    assert data["rows"][0] | {"value": 2.0, "passed": False} == data["rows"][0]


def test_a_missed_limit_is_told_by_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    finish("one", "meta", [Row("ratio", 0.5, at_most=1.0)], None)
    with pytest.raises(SystemExit):
        finish("one", "meta", [Row("ratio", 1.5, at_most=1.0)], None)
    assert "MISSED" in capsys.readouterr().out
