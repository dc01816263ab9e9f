"""The embedded database's own: how many read at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from svd_ui.errors import HistoryUnusable
from svd_ui.jobs.sqlite import READERS, SqliteDatabase


def test_several_read_at_once_and_none_after_the_end(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "a.sqlite3")
    under_way = [database._readers.pop() for _ in range(READERS - 1)]
    assert database.read("SELECT COUNT(*) AS jobs FROM jobs")[0]["jobs"] == 0, "one is left, and it does not wait"
    database._readers.extend(under_way)
    with ThreadPoolExecutor(4 * READERS) as pool:
        counts = list(pool.map(lambda number: database.read("SELECT ? AS it", (number,))[0]["it"], range(200)))
    assert counts == list(range(200))
    assert len(database._readers) == READERS
    database.close()
    with pytest.raises(HistoryUnusable, match="closed"):
        database.read("SELECT 1")
