"""Known faults of what is installed, by pip-audit: `.venv/bin/python scripts/audit.py`.

A fault that is looked at and left has its reason and its day in scripts/audit-exceptions.toml; after half a year somebody looks
again. Exits with 1 where a fault has no reason, and where pip-audit itself breaks. Where the advisory database does not answer, or a
mirror of it knows nothing, it says so and exits with 0, unless SVD_UI_REQUIRE_AUDIT is set.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("audit-exceptions.toml")
OURS = "svd-ui"
PATIENCE = 180
"""Seconds for all questions."""
OLD = datetime.timedelta(days=183)
UNREACHABLE = (
    "audit: skipped, because the advisory database cannot be reached from here. Nothing is known about faults."
)


class Fault(NamedTuple):
    """``id`` is the advisory's, ``fixed`` the versions that mend it."""

    package: str
    version: str
    id: str
    aliases: tuple[str, ...]
    fixed: tuple[str, ...]

    def __str__(self) -> str:
        remedy = f"mended in {', '.join(self.fixed)}" if self.fixed else "no version mends it yet"
        return f"{self.package} {self.version}  {self.id}  {remedy}"


def answers(url: str = "https://pypi.org/pypi/pip/json") -> bool:
    """Whether the advisory database does, asked once: pip-audit asks for each package by itself."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return "vulnerabilities" in json.load(answer)
    except (OSError, ValueError):
        return False


def ask() -> str:
    """pip-audit's report as JSON. Raises ValueError, which says why, where there is none."""
    options = ["--local", "--skip-editable", "--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    command = [sys.executable, "-m", "pip_audit", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise ValueError(f"it took longer than {PATIENCE} seconds") from None
    if not done.stdout.strip():
        raise ValueError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return done.stdout


def read(report: str) -> tuple[list[Fault], list[str]] | None:
    """(faults, packages that the database does not know), or None where it knows none. Raises ValueError for what is no report.

    A mirror that answers "not found" to every question makes pip-audit say that all is well.
    """
    try:
        rows: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, LookupError, TypeError):
        raise ValueError(f"it answered {report[:60]!r}") from None
    unknown = [row["name"] for row in rows if "skip_reason" in row and row["name"] != OURS]
    known = [row for row in rows if "skip_reason" not in row]
    if not known:
        return None
    faults = [
        Fault(row["name"], row["version"], one["id"], tuple(one.get("aliases", ())), tuple(one.get("fix_versions", ())))
        for row in known
        for one in row["vulns"]
    ]
    return faults, unknown


def exceptions(text: str) -> list[dict[str, Any]]:
    """The faults that were looked at. Raises ValueError for one without package, reason or day."""
    rows: list[dict[str, Any]] = tomllib.loads(text).get("exception", [])
    for row in rows:
        if not (row.get("id") and row.get("package") and str(row.get("reason", "")).strip()):
            raise ValueError(f"an exception needs id, package and reason: {row}")
        if not isinstance(row.get("looked"), datetime.date):
            raise ValueError(f"{row['id']} needs the day when somebody looked, as looked = 2026-01-31")
    return rows


def judge(faults: Sequence[Fault], known: Sequence[Mapping[str, Any]], today: datetime.date) -> tuple[list[str], bool]:
    """Lines to print, and whether every fault has a reason that is not too old."""
    lines, good = [], True
    for fault in faults:
        names = {fault.id, *fault.aliases}
        why = next((row for row in known if row["id"] in names and row["package"] == fault.package), None)
        if why is None:
            lines, good = [*lines, f"{fault}"], False
        elif today - why["looked"] > OLD:
            lines, good = [*lines, f"{fault}\n    looked at on {why['looked']}: look again"], False
        else:
            lines.append(f"{fault}\n    left: {why['reason']} ({why['looked']})")
    found = {name for fault in faults for name in (fault.id, *fault.aliases)}
    lines += [
        f"{row['id']} of {row['package']} is no fault any more: take its exception out"
        for row in known
        if row["id"] not in found
    ]
    return lines, good


def main() -> int:
    """Print what there is; the exit code."""
    known = exceptions(FILE.read_text("utf-8"))
    try:
        told = read(ask()) if answers() else None
    except ValueError as error:
        print(f"audit: pip-audit broke ({error}). Nothing is known about faults: run it again.", file=sys.stderr)
        return 1
    if told is None:
        print(UNREACHABLE, file=sys.stderr)
        return 1 if os.environ.get("SVD_UI_REQUIRE_AUDIT") else 0
    faults, unknown = told
    lines, good = judge(faults, known, datetime.date.today())
    print("\n".join(lines) or "audit: no known faults.")
    if unknown:
        print(
            f"audit: {len(unknown)} packages are not known to the database: {', '.join(sorted(unknown))}",
            file=sys.stderr,
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
