"""What was measured is kept, and a file that is not ours to trust harms nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from svd_ui.core.autotune import BenchmarkStore, key


def test_what_was_put_is_there_after_a_start(tmp_path: Path) -> None:
    file = tmp_path / "data" / "measured.json"
    name = key("a card", "attention", "25x144")
    assert BenchmarkStore(file).get(name) is None
    BenchmarkStore(file).put(name, {"sdpa": 0.5})
    assert BenchmarkStore(file).get(name) == {"sdpa": 0.5}
    assert [path.suffix for path in file.parent.iterdir() if path.suffix not in {".lock"}] == [".json"]


def test_a_key_is_of_one_device_and_one_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = key("a card", "threads")
    assert ours != key("another card", "threads")
    monkeypatch.setattr("svd_ui.core.autotune.version", lambda _: "9.9")
    assert ours != key("a card", "threads")


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "null", "\x00\xff"])
def test_a_damaged_file_is_an_empty_one(content: str, tmp_path: Path) -> None:
    file = tmp_path / "measured.json"
    file.write_text(content, "latin-1")
    assert BenchmarkStore(file).get("a") is None
    BenchmarkStore(file).put("a", 1)
    assert json.loads(file.read_text("utf-8")) == {"a": 1}


def test_two_stores_of_one_file_see_each_other(tmp_path: Path) -> None:
    first, second = BenchmarkStore(tmp_path / "m.json"), BenchmarkStore(tmp_path / "m.json")
    first.put("a", 1)
    second.put("b", 2)
    assert (first.get("b"), second.get("a")) == (2, 1)


def test_many_processes_may_write_and_nothing_is_lost(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom svd_ui.core.autotune import BenchmarkStore\n"
        "store = BenchmarkStore(Path(sys.argv[1]))\nfor i in range(20): store.put(f'{sys.argv[2]}{i}', i)"
    )
    file = tmp_path / "m.json"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(file), name]) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert len(json.loads(file.read_text("utf-8"))) == 60


def test_where_nothing_can_be_written_the_process_remembers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    store = BenchmarkStore(tmp_path / "file" / "measured.json")
    store.put("a", 1)
    assert store.get("a") == 1
    assert "could not be kept" in caplog.text


def test_without_a_file_it_is_a_dictionary() -> None:
    store = BenchmarkStore()
    store.put("a", 1)
    assert (store.get("a"), store.get("b")) == (1, None)
