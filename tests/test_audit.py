"""scripts/audit.py: which known faults of packages have a reason, and what is said where nobody can be asked."""

from __future__ import annotations

import datetime
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
TODAY = datetime.date(2026, 11, 26)
VULN = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["2.0"], "description": "bad"}
REPORT = {
    "dependencies": [
        {"name": "good", "version": "1.0", "vulns": []},
        {"name": "bad", "version": "1.0", "vulns": [VULN]},
    ]
}
EXCEPTION = {"id": "CVE-2026-1", "package": "bad", "reason": "its server is not started", "looked": TODAY}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "scripts" / "audit.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_fault_without_a_reason_fails_and_says_what_mends_it(audit: ModuleType) -> None:
    faults, unknown = audit.read(json.dumps(REPORT))
    lines, good = audit.judge(faults, [], TODAY)
    assert lines == ["bad 1.0  PYSEC-2026-1  mended in 2.0"]
    assert not good
    assert unknown == []


def test_a_fault_that_somebody_looked_at_is_told_with_the_reason(audit: ModuleType) -> None:
    faults, _ = audit.read(json.dumps(REPORT))
    lines, good = audit.judge(faults, [EXCEPTION], TODAY)
    assert good
    assert lines[0].endswith("left: its server is not started (2026-11-26)")


def test_a_reason_is_of_its_package_alone_and_grows_old(audit: ModuleType) -> None:
    faults, _ = audit.read(json.dumps(REPORT))
    assert not audit.judge(faults, [{**EXCEPTION, "package": "good"}], TODAY)[1]
    lines, good = audit.judge(faults, [EXCEPTION], TODAY + datetime.timedelta(days=190))
    assert not good
    assert "look again" in lines[0]


def test_an_exception_that_is_not_needed_any_more_is_told(audit: ModuleType) -> None:
    lines, good = audit.judge([], [EXCEPTION], TODAY)
    assert good
    assert "take its exception out" in lines[0]


SKIPPED = {"dependencies": [{"name": "good", "skip_reason": "not found"}, {"name": "bad", "skip_reason": "not found"}]}


@pytest.mark.parametrize("answers", [True, False])
def test_where_nobody_can_be_asked_that_is_said_and_nothing_fails(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answers: bool
) -> None:
    """A mirror that knows nothing is nobody to ask."""
    monkeypatch.setattr(audit, "answers", lambda: answers)
    monkeypatch.setattr(audit, "ask", lambda: json.dumps(SKIPPED))
    assert audit.main() == 0
    told = capsys.readouterr()
    assert "cannot be reached" in told.err
    assert "no known faults" not in told.out
    monkeypatch.setenv("SVD_UI_REQUIRE_AUDIT", "1")
    assert audit.main() == 1


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("echo oh >&2; echo 'ERROR: no such option' >&2; exit 2", "ERROR: no such option"), ("exit 3", "exit code 3"),
        ("echo '<html>'", "it answered '<html>"), ("echo '[]'", "it answered"), ("exec sleep 60", "longer than 0.5 seconds"),
    ],
)  # fmt: skip
def test_a_pip_audit_that_breaks_is_no_audit(
    audit: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    program: str,
    said: str,
) -> None:
    (tmp_path / "python").write_text(f"#!/bin/sh\n{program}\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(audit.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(audit, "answers", lambda: True)
    if "sleep" in program:
        monkeypatch.setattr(audit, "PATIENCE", 0.5)
    assert audit.main() == 1
    told = capsys.readouterr().err
    assert said in told
    assert "pip-audit broke" in told


def test_a_database_that_answers_nothing_of_the_kind_is_asked_once(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = tmp_path / "pip.json"
    for text, told in (("<html>", False), ("{}", False), ('{"vulnerabilities": []}', True)):
        page.write_text(text)
        assert audit.answers(page.as_uri()) is told
    assert not audit.answers((tmp_path / "gone").as_uri())
    monkeypatch.setattr(audit, "answers", lambda: False)
    monkeypatch.setattr(audit, "ask", lambda: pytest.fail("it was asked for each package"))
    assert audit.main() == 0


@pytest.mark.parametrize("lacks", ["reason", "looked", "package", "id"])
def test_an_exception_has_a_reason_and_a_day(audit: ModuleType, lacks: str) -> None:
    values: dict[str, Any] = {name: value for name, value in EXCEPTION.items() if name != lacks}
    lines = [f"{name} = {value if name == 'looked' else json.dumps(value)}" for name, value in values.items()]
    with pytest.raises(ValueError, match="needs"):
        audit.exceptions("\n".join(["[[exception]]", *lines]))


def test_the_exceptions_of_this_release_can_be_read(audit: ModuleType) -> None:
    audit.exceptions(audit.FILE.read_text("utf-8"))
