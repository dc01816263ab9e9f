"""A backup is made while the app works, is whole or not there, and comes back as it was; what would do harm does not come in."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from svd_ui.accounts import Accounts
from svd_ui.assets import Assets
from svd_ui.errors import BadInput, DiskFull, HistoryNewer, SvdUiError
from svd_ui.jobs import backup, restore
from svd_ui.jobs.database import MIGRATIONS
from svd_ui.jobs.service import JobService, open_store
from svd_ui.request import GenerationRequest
from svd_ui.settings import REPOSITORY, Settings
from tests.fakes import FakeEngine, picture
from tests.jobs.conftest import sqlite_only

from .conftest import until

pytestmark = sqlite_only

Serve = Callable[..., JobService]
PACKED = [
    "clips.tar",
    "clips.tar.gz",
    pytest.param("clips.tar.zst", marks=pytest.mark.skipif(not shutil.which("zstd"), reason="no zstd")),
]


def elsewhere(tmp_path: Path, name: str = "elsewhere") -> Settings:
    return Settings(data_dir=tmp_path / name)


def seen(settings: Settings) -> dict[str, tuple[Any, str]]:
    """Each finished clip => (what it was made from, its file's sum), as the history tells."""
    with open_store(settings) as jobs:
        done = [job for job in jobs.history(limit=1000) if job.state == "finished"]
        files = {job.id: jobs.file(job, "video") for job in done}
    return {job.id: (job.known_request, hashlib.sha256(files[job.id].read_bytes()).hexdigest()) for job in done}  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with two finished clips, an account and a training run, that nobody works in any more."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("made") / "data")
    request = GenerationRequest(image=Assets.of(settings).keep(picture(0.3)), width=64, height=64, num_frames=4)
    with JobService(settings, FakeEngine(delay=0, steps=1, settings=settings)) as jobs:
        jobs.start()
        for seed in (1, 2):
            jobs.wait(jobs.submit(request.model_copy(update={"seed": seed}), "me").id, 60)
    Accounts(settings.accounts_file).add("olga", "operator", "trees and towers")
    for name in (
        "training/run/status.json",
        "training/encoded/cache.bin",
        "models/loras/mine.safetensors",
        "logs/x.log",
    ):
        (settings.data_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (settings.data_dir / name).write_text("{}")
    return settings.data_dir


@pytest.fixture
def made(template: Path, settings: Settings) -> Settings:
    """A copy of it."""
    shutil.copytree(template, settings.data_dir)
    return settings


@pytest.mark.parametrize("name", PACKED)
def test_what_was_backed_up_comes_back_elsewhere(made: Settings, tmp_path: Path, name: str) -> None:
    told: list[tuple[int, int]] = []
    done = backup.write(made, tmp_path / name, told=lambda *bytes: told.append(bytes))
    assert (done.jobs, done.rows) == (2, True)
    assert ((tmp_path / name).stat().st_mode & 0o777) == 0o600
    assert told[-1][0] >= told[-1][1] > 0
    there = elsewhere(tmp_path)
    back = restore.restore(there, tmp_path / name)
    assert (back.jobs, back.files, back.bytes) == (2, done.files, done.bytes)
    assert seen(there) == seen(made)
    assert Accounts(there.accounts_file).check("olga", "trees and towers")
    assert (there.accounts_file.stat().st_mode & 0o777) == 0o600
    names = {path.relative_to(there.data_dir).as_posix() for path in there.data_dir.rglob("*") if path.is_file()}
    assert "training/run/status.json" in names
    assert not [name for name in names if name.startswith(("models", "logs", "training/encoded", "locks"))]


def test_weights_come_along_when_they_are_asked_for(made: Settings, tmp_path: Path) -> None:
    backup.write(made, tmp_path / "all.tar", weights=True)
    restore.restore(elsewhere(tmp_path), tmp_path / "all.tar")
    assert (tmp_path / "elsewhere/models/loras/mine.safetensors").is_file()


def test_the_app_goes_on_making_clips_while_they_are_backed_up(
    serve: Serve, settings: Settings, request_: GenerationRequest, tmp_path: Path
) -> None:
    jobs = serve([FakeEngine(delay=0.001, steps=2, settings=settings) for _ in range(2)])
    ids = [jobs.submit(request_.model_copy(update={"seed": seed}), "me").id for seed in range(24)]
    until(lambda: jobs.get(ids[3]).state == "finished")
    backup.write(settings, tmp_path / "a.tar")
    there = elsewhere(tmp_path)
    back = restore.restore(there, tmp_path / "a.tar")
    assert back.jobs == 24
    kept = seen(there)
    for id in ids:
        jobs.wait(id, 60)
    assert len(kept) >= 3
    now = seen(settings)
    assert all(now[id] == kept[id] for id in kept)
    with JobService(there, FakeEngine(delay=0, steps=2, settings=there), lease_seconds=0.5) as rest:
        rest.start()
        assert all(rest.wait(id, 60).state == "finished" for id in ids), "what waited, or was made, goes on there"


def test_what_is_deleted_meanwhile_is_left_out(made: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = backup._files

    def late(*args: Any) -> Any:
        found = list(files(*args))
        for _, path, _ in found:
            if path.name == "poster.jpg":
                path.unlink()
        return iter(found)

    monkeypatch.setattr(backup, "_files", late)
    backup.write(made, tmp_path / "a.tar")
    assert restore.restore(elsewhere(tmp_path), tmp_path / "a.tar").jobs == 2


STRANGE = [
    "jobs/.DS_Store", "jobs/Thumbs.db", "jobs/lost+found/x", "assets/.DS_Store", "assets/00/x.png", f"jobs/{'f' * 32}/a:b.mp4",
]  # fmt: skip


def test_what_others_put_among_the_app_s_files_is_left_out_and_told(
    made: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "is_shared", True, raising=False)  # all folders of jobs are taken
    for name in STRANGE:
        (made.data_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (made.data_dir / name).touch()
    done = backup.write(made, tmp_path / "a.tar")
    assert set(done.strange) == set(STRANGE)
    assert restore.restore(elsewhere(tmp_path), tmp_path / "a.tar").files == done.files


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot have these names")
def test_clips_come_back_whatever_people_call_them(made: Settings, tmp_path: Path) -> None:
    names = [
        b"a:b.mp4",
        b"a\\b.mp4",
        b"IMG.MP4",
        b"img.mp4",
        b"\xff.mp4",
        "line\u2028\x85\x7f.mp4".encode(),
        b" .mp4",
        b"%3A",
    ]
    folder = made.data_dir / "training/clips/set"
    folder.mkdir(parents=True)
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(name)
    backup.write(made, tmp_path / "a.tar.gz")
    restore.restore(elsewhere(tmp_path), tmp_path / "a.tar.gz")
    back = tmp_path / "elsewhere/training/clips/set"
    assert {os.fsencode(path.name): path.read_bytes() for path in back.iterdir()} == {name: name for name in names}


@pytest.mark.parametrize("name", ["a\nb.mp4", "/".join("abcdefghijklm")])
def test_what_could_not_come_back_is_said_when_the_backup_is_made(made: Settings, tmp_path: Path, name: str) -> None:
    path = made.data_dir / "training" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with pytest.raises(BadInput, match="cannot be in a backup .*rename or move it") as error:
        backup.write(made, tmp_path / "a.tar")
    assert repr(f"training/{name}") in error.value.message
    assert not (tmp_path / "a.tar").exists()


INTERRUPTED = """
import sys, time
from pathlib import Path
from svd_ui.cli import main
from svd_ui.jobs import backup
add = backup._Writing.add
def slowly(self, name, path):
    add(self, name, path)
    print("began", flush=True)
    time.sleep(600)
backup._Writing.add = slowly
main(["backup", sys.argv[1], "--quiet"])
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_backup_leaves_no_half_file(made: Settings, tmp_path: Path, how: signal.Signals) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.tar").write_text("of yesterday")
    command = [sys.executable, "-c", INTERRUPTED, str(out / "a.tar")]
    environment = {"SVD_UI_DATA_DIR": str(made.data_dir), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "began\n"
    process.send_signal(how)
    assert process.wait(60) == 130
    assert [path.name for path in out.iterdir()] == ["a.tar"]
    assert (out / "a.tar").read_text() == "of yesterday"


def test_where_nothing_can_be_written_nothing_is_left(
    made: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup._Writing, "_put", full)
    with pytest.raises(DiskFull):
        backup.write(made, tmp_path / "a.tar")
    assert not list(tmp_path.glob("*.tar")) + list(tmp_path.glob(".svd-ui*"))


def test_a_history_in_postgresql_is_left_to_its_server(
    made: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "is_shared", True, raising=False)
    assert backup.write(made, tmp_path / "a.tar").rows is False
    back = restore.restore(elsewhere(tmp_path), tmp_path / "a.tar")
    assert back.jobs is None
    assert not (tmp_path / "elsewhere" / backup.HISTORY).exists()
    assert len(list((tmp_path / "elsewhere/jobs").iterdir())) == 2


@pytest.mark.parametrize("name", ["clips.zip", "clips", "folder/clips.tar"])
def test_a_name_that_cannot_be_written_is_said_at_once(made: Settings, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="name "):
        backup.write(made, tmp_path / name)


# Coming back


@pytest.fixture
def whole(made: Settings, tmp_path: Path) -> Path:
    backup.write(made, tmp_path / "whole.tar")
    return tmp_path / "whole.tar"


def test_a_dry_run_checks_everything_and_changes_nothing(whole: Path, tmp_path: Path) -> None:
    assert restore.restore(elsewhere(tmp_path), whole, dry_run=True).jobs == 2
    assert not (tmp_path / "elsewhere").exists()
    damaged = bytearray(whole.read_bytes())
    damaged[damaged.index(b"ftyp") + 40] ^= 1
    whole.write_bytes(damaged)
    with pytest.raises(BadInput, match=r"clip\.mp4 is not what was kept"):
        restore.restore(elsewhere(tmp_path), whole, dry_run=True)


def test_a_folder_that_is_not_empty_is_put_aside_only_by_force(whole: Path, made: Settings, tmp_path: Path) -> None:
    there = elsewhere(tmp_path)
    restore.restore(there, whole)
    (there.jobs_dir / "mine.txt").write_text("mine")
    with pytest.raises(BadInput, match="is not empty"):
        restore.restore(there, whole)
    back = restore.restore(there, whole, force=True)
    assert back.aside is not None
    assert (back.aside / "jobs/mine.txt").read_text() == "mine"
    assert seen(there) == seen(made)


def test_a_folder_that_the_app_works_in_is_refused_even_by_force(whole: Path, made: Settings, serve: Serve) -> None:
    serve(settings=made)
    with pytest.raises(BadInput, match="stop it first"):
        restore.restore(made, whole, force=True)


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.97])
@pytest.mark.parametrize("packed", ["tar", "tar.gz"])
def test_a_backup_that_was_cut_off_is_refused(made: Settings, tmp_path: Path, keep: float, packed: str) -> None:
    path = tmp_path / f"a.{packed}"
    backup.write(made, path)
    data = path.read_bytes()
    cut = data.rstrip(b"\0") if packed == "tar" else data
    path.write_bytes(cut[: int(len(cut) * keep)])
    with pytest.raises(BadInput, match="damaged or cut off"):
        restore.restore(elsewhere(tmp_path), path)
    assert not list((tmp_path / "elsewhere").iterdir())


def forged(path: Path, *members: tuple[tarfile.TarInfo, bytes], about: dict[str, Any] | None = None) -> Path:
    """A backup with right sums, and whatever else somebody may put into it."""
    manifest = {"format": 1, "svd_ui": "9", "schema": 1, "made": 0.0, "bytes": 1, "rows": "postgresql", **(about or {})}
    first = member(backup.MANIFEST, json.dumps(manifest).encode())
    every = [first, *members]
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {info.name}\n" for info, data in every)
    with tarfile.open(path, "w") as tar:
        for info, data in [*every, member(backup.SUMS, sums.encode())]:
            tar.addfile(info, io.BytesIO(data))
    return path


def member(name: str, data: bytes = b"x", **values: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in values.items():
        setattr(info, key, value)
    return info, data


ID = "0" * 32


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "/etc/evil", f"jobs/{ID}/../../evil", f"jobs/{ID}/..", "jobs/evil/x", "C:\\evil", f"jobs/{ID}/a\\b",
        f"jobs/{ID}/a\nb", "assets/00/evil.png", ".env", "logs/x", "training/../x", "models/.", f"jobs/{ID}", "svd_ui.sqlite3-wal",
    ],
)  # fmt: skip
def test_a_name_that_belongs_to_none_of_our_places_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="belongs to none|damaged"):
        restore.restore(elsewhere(tmp_path), forged(tmp_path / "a.tar", member(name)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "elsewhere"]
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_nothing_but_plain_files_is_taken(tmp_path: Path, kind: bytes) -> None:
    link = member(f"jobs/{ID}/clip.mp4", b"", type=kind, linkname="/etc/passwd")
    with pytest.raises(BadInput, match="no plain file"):
        restore.restore(elsewhere(tmp_path), forged(tmp_path / "a.tar", link))


def test_two_names_that_differ_in_letters_alone_are_two_files_everywhere(tmp_path: Path) -> None:
    twice = [member("training/clips/IMG.MP4", b"one"), member("training/clips/img.mp4", b"two")]
    restore.restore(elsewhere(tmp_path), forged(tmp_path / "a.tar", *twice))
    back = sorted((tmp_path / "elsewhere/training/clips").iterdir())
    assert [path.read_bytes() for path in back] == [b"one", b"two"]
    assert restore.place(back[0].parent, "IMG.MP4").name == "IMG~2.MP4", "where a disk takes both for one"


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    twice = [member("training/a.mp4", b"one"), member("training/a.mp4", b"two")]
    with pytest.raises(BadInput, match="belongs to none"):
        restore.restore(elsewhere(tmp_path), forged(tmp_path / "a.tar", *twice))


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("training/set/a:b?.mp4", "training/set/a_b_.mp4"), ("models/..\\..\\evil", "models/.._.._evil"),
        ("models/C:\\evil", "models/C__evil"), ("models/.. /x", "models/_/x"), ("training/x.", "training/x_"),
    ],
)  # fmt: skip
def test_a_name_that_windows_cannot_have_becomes_one_that_stays_below(tmp_path: Path, name: str, there: str) -> None:
    assert restore.place(tmp_path, name, "win32") == tmp_path / there
    assert restore.place(tmp_path, name, "linux") == tmp_path / name


def test_a_bomb_finds_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("svd_ui.jobs.restore.shutil.disk_usage", lambda _: usage._replace(free=restore.ROOM + 100))
    with pytest.raises(BadInput, match="not enough room"):
        restore.restore(elsewhere(tmp_path), forged(tmp_path / "a.tar", member(f"jobs/{ID}/clip.mp4", b"x" * 101)))


def test_a_header_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    huge = member("x", b"0" * (restore.MAX_HEADER + 1), type=tarfile.XHDTYPE)
    with pytest.raises(BadInput, match="header that is too large"):
        restore.restore(elsewhere(tmp_path), forged(tmp_path / "a.tar", huge))


@pytest.mark.parametrize(
    ("about", "error"), [({"format": 2}, BadInput), ({"schema": len(MIGRATIONS) + 1}, HistoryNewer)]
)
def test_a_backup_of_a_newer_release_is_refused(tmp_path: Path, about: dict[str, Any], error: type[SvdUiError]) -> None:
    with pytest.raises(error, match="newer release"):
        restore.restore(elsewhere(tmp_path), forged(tmp_path / "a.tar", about=about))


def history(tmp_path: Path, *statements: str) -> tuple[tarfile.TarInfo, bytes]:
    """A history file as somebody made it."""
    path = tmp_path / "made.sqlite3"
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("CREATE TABLE jobs (id TEXT)")
        for statement in statements:
            sql.execute(statement)
        sql.commit()
    data = path.read_bytes()
    path.unlink()
    return member(backup.HISTORY, data)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON jobs BEGIN DELETE FROM jobs; END", "more than tables"),
        ("CREATE VIEW v AS SELECT 1", "more than tables"),
        ("DROP TABLE jobs", "its history"),
        (f"PRAGMA user_version = {len(MIGRATIONS) + 1}", "newer release"),
    ],
)
def test_a_history_that_is_none_is_refused(tmp_path: Path, statement: str, said: str) -> None:
    with pytest.raises(SvdUiError, match=said):
        restore.restore(
            elsewhere(tmp_path), forged(tmp_path / "a.tar", history(tmp_path, statement), about={"rows": "sqlite"})
        )


@pytest.mark.parametrize("data", [b"", b"no tar at all" * 100, b"\x1f\x8b no gzip", b"\x28\xb5\x2f\xfd no zstd"])
def test_what_is_no_backup_is_said(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    with pytest.raises(BadInput, match="backup"):
        restore.restore(elsewhere(tmp_path), path)


def test_the_pictures_that_clips_were_made_from_come_along(whole: Path, made: Settings, tmp_path: Path) -> None:
    there = elsewhere(tmp_path)
    restore.restore(there, whole)
    (request, _), *_ = seen(there).values()
    assert Assets.of(there).open(request.image).size == picture(0.3).size
