"""One download in a thread of its own: resumable, verified, watched by ``Hub``.

huggingface_hub's own download starts again after an interruption and cannot be stopped between two chunks, so the
bytes are fetched here, with its session, headers and errors. What is partly there stays beside the blobs.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock
import httpx2
from huggingface_hub import HfApi, get_session, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

from ..catalog.folders import select
from ..errors import DiskTooSmall, HubOffline, HubRefused, WeightsMissing
from ..media import FULL
from ..network import keep_local, way_to, why_unreachable
from ..notes import size
from . import layout

_TIMEOUT = httpx2.Timeout(20, connect=10)
_ATTEMPTS = 5
_CHUNK = 1 << 20
RESERVE = 256_000_000  # bytes left free beside a download


@dataclass(frozen=True)
class DownloadSource:
    """What is fetched: a repository in one precision, ``fp16`` where it has it.

    Or only ``file`` of it, or all but the weights of the component ``without``.
    """

    id: str
    title: str
    repo: str
    url: str
    variant: str | None
    file: str | None = None
    without: str | None = None


@dataclass(frozen=True)
class RemoteFile:
    """``blob`` is the hub's etag: sha256 of a large file, git's object id of a small one."""

    path: str
    size: int
    blob: str


class Stopped(Exception):
    """The watcher asked the thread to end."""


class Transfer(threading.Thread):
    """Fetches ``source`` into ``cache``; the watcher reads ``done_bytes`` / ``total_bytes`` and ``error``."""

    def __init__(
        self, source: DownloadSource, cache: Path, endpoint: str, models_dir: Path, free: Callable[[Path], int]
    ) -> None:
        super().__init__(name=f"download-{source.id}", daemon=True)
        self.source, self.cache, self.endpoint, self.models_dir, self.free = source, cache, endpoint, models_dir, free
        self.stopping = threading.Event()
        self.ended = threading.Event()
        self.error: Exception | None = None
        self.folder: Path | None = None
        self.total_bytes: int | None = None
        self._kept = 0  # bytes of finished files
        self._current = 0  # bytes of the file under way

    @property
    def done_bytes(self) -> int:
        return self._kept + self._current

    def run(self) -> None:
        try:
            keep_local()
            if remedy := why_unreachable(self.endpoint):
                raise WeightsMissing(title=self.source.title, remedy=remedy)
            with self._mapped():
                self.folder = self._fetch()
        except Exception as error:
            self.error = error
        finally:
            self.ended.set()

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        """Foreign errors become ours, with the remedy."""
        source = self.source
        try:
            yield
        except HfHubHTTPError as error:
            status = error.response.status_code
            if status in (401, 403):
                raise HubRefused(title=source.title, url=source.url) from error
            if status == 404:
                remedy = f"{source.url} does not exist or lacks a file: check the name."
                raise WeightsMissing(title=source.title, remedy=remedy) from error
            raise self._offline() from error
        except (httpx2.TransportError, OfflineModeIsEnabled) as error:
            raise self._offline() from error
        except OSError as error:
            if error.errno in FULL:
                raise self._too_small(self.total_bytes or 0) from error
            remedy = f"{self.cache} cannot be used ({error.strerror}): fix that, or set HF_HOME to another folder."
            raise WeightsMissing(title=source.title, remedy=remedy) from error

    def _offline(self) -> HubOffline:
        return HubOffline(title=self.source.title, folder=str(self.models_dir), where=way_to(self.endpoint))

    def _too_small(self, needed: int) -> DiskTooSmall:
        free = self.free(self.cache)
        return DiskTooSmall(title=self.source.title, needed=size(needed), free=size(free), where=str(self.cache))

    def _fetch(self) -> Path:
        commit, files = self._wanted()
        home = layout.repo_folder(self.cache, self.source.repo)
        folder = home / "snapshots" / commit
        missing = [file for file in files if not _is_there(folder / file.path, file)]
        self.total_bytes = sum(file.size for file in files)
        self._kept = self.total_bytes - sum(file.size for file in missing)
        self._check_disk(missing, home)
        for file in sorted(missing, key=lambda file: file.size):
            blob = home / "blobs" / file.blob
            if not _is_there(blob, file):
                blob.unlink(missing_ok=True)
                self._download(file, commit, blob)
            if not _is_there(folder / file.path, file):
                (folder / file.path).unlink(missing_ok=True)
            layout.link(blob, folder / file.path)
            self._kept, self._current = self._kept + file.size, 0
        layout.set_main(self.cache, self.source.repo, commit)
        return folder

    def _wanted(self) -> tuple[str, list[RemoteFile]]:
        """The commit, and the files of it that are needed."""
        info = HfApi(endpoint=self.endpoint).model_info(self.source.repo, files_metadata=True, timeout=10)
        found: dict[str, RemoteFile] = {}
        for file in info.siblings or ():
            blob = file.lfs.sha256 if file.lfs else file.blob_id
            if blob and file.size is not None:
                found[file.rfilename] = RemoteFile(file.rfilename, file.size, blob)
        commit = info.sha or "main"
        if self.source.file is not None:
            return commit, [self._the(found, self.source.file)]
        if "model_index.json" not in found:
            raise WeightsMissing(title=self.source.title, remedy=f"{self.source.url} is not a diffusers repository.")
        index = get_session().get(self._url("model_index.json", commit), headers=build_hf_headers(), timeout=_TIMEOUT)
        hf_raise_for_status(index)
        wanted = select(index.json(), found, self.source.variant, self.source.without)
        return commit, [found[path] for path in wanted]

    def _the(self, found: dict[str, RemoteFile], name: str) -> RemoteFile:
        if name not in found:
            raise WeightsMissing(title=self.source.title, remedy=f"{self.source.url} does not hold {name} any more.")
        return found[name]

    def _check_disk(self, missing: list[RemoteFile], home: Path) -> None:
        parts = [home / "blobs" / (file.blob + layout.PART) for file in missing]
        needed = sum(file.size for file in missing) - sum(part.stat().st_size for part in parts if part.exists())
        if needed > 0 and needed + RESERVE > self.free(self.cache):
            raise self._too_small(needed + RESERVE)

    def _url(self, path: str, commit: str) -> str:
        return hf_hub_url(self.source.repo, path, revision=commit, endpoint=self.endpoint)

    def _download(self, file: RemoteFile, commit: str, blob: Path) -> None:
        blob.parent.mkdir(parents=True, exist_ok=True)
        part = blob.with_name(blob.name + layout.PART)
        with self._alone(file):
            failures = 0
            part.touch()
            while not blob.exists() and (before := part.stat().st_size) < file.size:
                try:
                    self._append(file, commit, part)
                except httpx2.TransportError:
                    # A dropped line: go on from what has arrived; give up when nothing does.
                    failures = failures + 1 if part.stat().st_size == before else 0
                    if failures >= _ATTEMPTS:
                        raise
                    self._pause(min(0.5 * 2**failures, 8))
            if blob.exists():  # another program brought it while this one waited
                part.unlink()
            else:
                self._verify(part, file)
                part.replace(blob)

    @contextlib.contextmanager
    def _alone(self, file: RemoteFile) -> Iterator[None]:
        """One writer per file, also across processes and programs; waiting for another's end can be stopped."""
        path = self.cache / ".locks" / layout.repo_folder(self.cache, self.source.repo).name / f"{file.blob}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path)
        while True:
            try:
                lock.acquire(timeout=0.25)
                break
            except filelock.Timeout:
                self._check_stop()
        try:
            yield
        finally:
            lock.release()

    def _append(self, file: RemoteFile, commit: str, part: Path) -> None:
        start = part.stat().st_size
        # Identity: a compressed answer has neither the file's length nor its ranges.
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with get_session().stream("GET", self._url(file.path, commit), headers=headers, timeout=_TIMEOUT) as response:
            if response.status_code >= 400:
                response.read()
            hf_raise_for_status(response)
            resumed = response.status_code == 206
            self._current = start if resumed else 0
            with part.open("ab" if resumed else "wb") as out:
                for chunk in response.iter_raw():
                    self._check_stop()
                    out.write(chunk)
                    self._current += len(chunk)

    def _verify(self, part: Path, file: RemoteFile) -> None:
        """Content against its name; what does not match is thrown away, since resuming would keep the damage."""
        is_sha256 = len(file.blob) == 64
        digest = hashlib.sha256() if is_sha256 else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
        with part.open("rb") as stream:
            while chunk := stream.read(8 * _CHUNK):
                self._check_stop()
                digest.update(chunk)
        if digest.hexdigest() != file.blob:
            part.unlink()
            remedy = f"{file.path} arrived damaged: start the download again."
            raise WeightsMissing(title=self.source.title, remedy=remedy)

    def _check_stop(self) -> None:
        if self.stopping.is_set():
            raise Stopped

    def _pause(self, seconds: float) -> None:
        if self.stopping.wait(seconds):
            raise Stopped


def _is_there(path: Path, file: RemoteFile) -> bool:
    """Whole: a full disk, or a computer that went out, may have cut it short."""
    return path.exists() and path.stat().st_size == file.size


class Speed:
    """Bytes per second over the last few seconds."""

    def __init__(self, window: float = 5.0) -> None:
        self._window = window
        self._samples: list[tuple[float, int]] = []

    def add(self, done: int) -> float | None:
        now = time.monotonic()
        self._samples = [(t, n) for t, n in self._samples if now - t <= self._window] + [(now, done)]
        (t0, n0), (t1, n1) = self._samples[0], self._samples[-1]
        return max(0.0, (n1 - n0) / (t1 - t0)) if t1 > t0 else None
