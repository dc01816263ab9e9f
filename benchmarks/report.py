"""What every benchmark prints and writes: one table and one JSON file, limits beside the figures."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import svd_ui

PACKAGES = ("torch", "diffusers", "transformers", "xformers", "flash-attn", "gradio", "av")


@dataclass(frozen=True)
class Row:
    """One figure. ``at_most`` and ``at_least`` are the limits it has to keep, ``goal`` the better one beyond.

    ``value`` None was not run; ``note`` then says why.
    """

    what: str
    value: float | str | None
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    goal: float | None = None
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """None where there is nothing to keep or no figure."""
        if not isinstance(self.value, (int, float)) or (self.at_most is None and self.at_least is None):
            return None
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)

    @property
    def limit(self) -> str:
        """The limits as a person writes them."""
        sign = "<=" if self.at_most is not None else ">="
        parts = [f"<= {self.at_most:g}"] if self.at_most is not None else []
        parts += [f">= {self.at_least:g}"] if self.at_least is not None else []
        parts += [f"goal {sign} {self.goal:g}"] if self.goal is not None else []
        return ", ".join(parts)

    @property
    def verdict(self) -> str:
        return {None: "", True: "pass", False: "MISSED"}[self.passed]


def table(rows: Sequence[Row]) -> str:
    """The rows as aligned text: what, figure, limit, verdict, note."""
    cells = [("what", "figure", "limit", "", ""), *((r.what, _figure(r), r.limit, r.verdict, r.note) for r in rows)]
    used = [column for column in range(5) if any(line[column] for line in cells)]
    widths = {column: max(len(line[column]) for line in cells) for column in used}
    lines = ["  ".join(line[column].ljust(widths[column]) for column in used).rstrip() for line in cells]
    return "\n".join([lines[0], "  ".join("-" * widths[column] for column in used), *lines[1:]])


def _figure(row: Row) -> str:
    if row.value is None:
        return "not run"
    if isinstance(row.value, str):
        return row.value
    number = f"{row.value:,.0f}" if abs(row.value) >= 1000 or row.value == int(row.value) else f"{row.value:.4g}"
    return f"{number} {row.unit}".strip()


def write_json(path: Path, name: str, device: str, rows: Sequence[Row], **more: Any) -> None:
    """What was run (``name``), where (``device``), when, with which versions, and every row. ``more`` is kept as is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "benchmark": name,
        "device": device,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        **more,
        "rows": [{**asdict(row), "passed": row.passed} for row in rows],
    }
    path.write_text(json.dumps(data, indent=1) + "\n", "utf-8")


def versions() -> dict[str, str]:
    """Of this project, Python and the packages a figure depends on, as far as they are installed."""
    found = {"svd_ui": svd_ui.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def parser(description: str | None) -> argparse.ArgumentParser:
    """An argument parser with the option that all benchmarks share."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    return made


def finish(name: str, device: str, rows: Sequence[Row], json_file: Path | None, **more: Any) -> None:
    """Print the table, write the JSON where asked for, and leave with status 1 if a limit was missed."""
    print(f"{name} on {device}, {datetime.now(UTC):%Y-%m-%d}\n\n{table(rows)}", flush=True)
    if json_file is not None:
        write_json(json_file, name, device, rows, **more)
    if any(row.passed is False for row in rows):
        sys.exit(1)
