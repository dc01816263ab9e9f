"""How long looking at a job takes, as GET /svd/status/<id> does it: with 10,000 finished and 64 waiting jobs, by database.

    python -m benchmarks.store [--baseline FOLDER] [--json FILE]

``--baseline`` is a checkout of another commit (``git worktree add``), measured in the same run: a process for each side, which
take turns of a hundred looks, so that what else the machine does hurts both; the ratio is the median over the turns. PostgreSQL is a server of this run's own with its
usual durability, where its programs are installed; its figures are for information.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.report import Row, finish, parser
from svd_ui.settings import REPOSITORY

FINISHED, WAITING, OWNERS = 10_000, 64, 7
TURNS, LOOKS = 30, 100
RATIO = 1.1
CHILD = """
import json, sys, time
from pathlib import Path
from svd_ui.jobs import status
from svd_ui.jobs.service import JobService
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings

finished, waiting, owners, looks = map(int, sys.argv[2:6])
request = GenerationRequest(image="sha256:" + "0" * 64, seed=1).model_dump_json()
columns = "id, owner, kind, state, schema, request, created"
states = ["finished"] * finished + ["queued"] * waiting
rows = [(f"{n:032x}", f"v-{n % owners}", "clip", state, 2, request, 1.0) for n, state in enumerate(states)]
with JobService(Settings(data_dir=Path(sys.argv[1]), _env_file=None), slots=False) as jobs:
    with jobs._database.write() as sql:
        sql.executemany(f"INSERT INTO jobs ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    ids = [row[0] for row in rows[finished:]]
    print("ready", flush=True)
    at = 0
    for line in sys.stdin:
        spent = []
        for _ in range(looks):
            begin = time.perf_counter(), time.thread_time()
            job = jobs.get(ids[at % len(ids)])
            status(job, jobs.file)
            spent.append(((time.perf_counter() - begin[0]) * 1000, (time.thread_time() - begin[1]) * 1000))
            assert job.position is not None
            at += 1
        print(json.dumps(spent), flush=True)
"""


class Side:
    """A process that looks when it is told to."""

    def __init__(self, tree: Path, folder: Path, database: str = "") -> None:
        numbers = map(str, (FINISHED, WAITING, OWNERS, LOOKS))
        environment = {**os.environ, "PYTHONPATH": str(tree), "SVD_UI_DATABASE": database}
        command = [sys.executable, "-c", CHILD, str(folder), *numbers]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, cwd=tree, env=environment, **pipes)
        self.turns: list[list[tuple[float, float]]] = []
        """Milliseconds (by the clock, of the processor) of each look of each turn."""
        self._line()

    def turn(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        self.turns.append(json.loads(self._line()))

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a side ended before its time")
        return line

    def p95s(self, which: int) -> list[float]:
        """Of each turn."""
        return [statistics.quantiles((look[which] for look in turn), n=20)[-1] for turn in self.turns]

    def median(self) -> float:
        return statistics.median(look[0] for turn in self.turns for look in turn)

    def close(self) -> None:
        self._process.communicate(timeout=60)


@contextmanager
def sides(baseline: Path | None) -> Iterator[dict[str, Side]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="svd-ui-store-")))
        found = {"SQLite": Side(REPOSITORY, folder / "sqlite")}
        if baseline is not None:
            found["baseline"] = Side(baseline.resolve(), folder / "baseline")
        from tests.postgres import server

        own = server()
        if own is not None:
            own.durable()
            found["PostgreSQL"] = Side(REPOSITORY, folder / "postgresql", own.new())
            own.run("VACUUM ANALYZE")
        for side in found.values():
            stack.callback(side.close)
        yield found


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--baseline", type=Path, metavar="FOLDER", help="a checkout of the commit to compare with")
    given = arguments.parse_args()
    with sides(given.baseline) as found:
        for side in found.values():
            side.turn()
            side.turns.clear()  # it warmed up
        for turn in range(TURNS):
            for side in list(found.values())[:: 1 if turn % 2 else -1]:
                side.turn()
                time.sleep(0.01)
        rows = [Row(f"p95 of a status, {name}", statistics.median(side.p95s(0)), "ms") for name, side in found.items()]
        rows += [Row(f"median of a status, {name}", side.median(), "ms") for name, side in found.items()]
        for which, by in enumerate(("by the clock", "of the processor")):
            what = f"p95 of SQLite, now over baseline, {by}"
            if "baseline" not in found:
                rows.append(Row(what, None, at_most=RATIO, note="no --baseline"))
                continue
            pairs = zip(found["SQLite"].p95s(which), found["baseline"].p95s(which), strict=True)
            rows.append(Row(what, statistics.median(now / before for now, before in pairs), at_most=RATIO))
    finish("store", f"{platform.machine()}, {os.cpu_count()} cores", rows, given.json)


if __name__ == "__main__":
    main()
