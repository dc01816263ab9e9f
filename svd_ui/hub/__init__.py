"""The model hub: what is on this machine, and what can be fetched. No torch.

Weights live in the hub's own cache (``HF_HOME``), shared with other programs. A token is read by huggingface_hub
(``HF_TOKEN`` or ``hf auth login``) and never shown or logged.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..catalog import CheckpointRow, checkpoints
from ..errors import BadInput, Cancelled, WeightsMissing
from ..events import CancelToken, Downloading
from ..settings import Settings
from . import layout

if TYPE_CHECKING:
    from .transfer import DownloadSource

TEXT_TO_IMAGE = "text-to-image"
_POLL = 0.25
_REPORT = 0.5


@dataclass(frozen=True)
class Cached:
    """Weights of ours in the shared cache, complete or partly fetched."""

    id: str
    title: str
    path: Path
    bytes: int
    complete: bool


def _free_bytes(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


class Hub:
    """Reads and fills the cache. ``cache``, ``endpoint`` and ``free`` default to huggingface_hub's and the disk's."""

    def __init__(
        self,
        settings: Settings,
        *,
        cache: Path | None = None,
        endpoint: str | None = None,
        free: Callable[[Path], int] = _free_bytes,
    ) -> None:
        self.settings = settings
        self._cache, self._endpoint, self._free = cache, endpoint, free

    @property
    def cache(self) -> Path:
        if self._cache is None:
            from huggingface_hub import constants

            self._cache = Path(constants.HF_HUB_CACHE)
        return self._cache

    def present(self, row: CheckpointRow) -> Path | None:
        """The diffusers folder of ``row``, or None when (part of) it is not on this machine."""
        if row.folder is not None:
            return row.folder if (row.folder / "model_index.json").is_file() else None
        return self._snapshot(row.repo, row.variant) if row.unet_file is None else self._composed(row)

    def _composed(self, row: CheckpointRow) -> Path | None:
        """The folder made of a U-Net from one repository and the rest from another, or None while either is missing."""
        assert row.repo and row.base_repo and row.unet_file
        own, base = layout.snapshot(self.cache, row.repo), self._base(row)
        if own is None or base is None or not (own / row.unet_file).is_file():
            return None
        return layout.compose(self._composed_folder(row), base, own / row.unet_file, row.variant)

    def _base(self, row: CheckpointRow) -> Path | None:
        """What ``row`` takes from its base, or None when (part of) it is missing."""
        base = layout.snapshot(self.cache, row.base_repo or "")
        return base if base and layout.is_complete(base, row.variant, without=layout.UNET) else None

    def _composed_folder(self, row: CheckpointRow) -> Path:
        return self.settings.data_dir / "composed" / row.id

    def _snapshot(self, repo: str | None, variant: str | None) -> Path | None:
        folder = layout.snapshot(self.cache, repo) if repo else None
        return folder if folder and layout.is_complete(folder, variant) else None

    def require(self, row: CheckpointRow) -> Path:
        """``present``, or WeightsMissing that says how to get it."""
        folder = self.present(row)
        if folder is None:
            remedy = f"Download it on the page, or with 'python -m svd_ui models download {row.id}'."
            raise WeightsMissing(title=row.title, remedy=remedy, checkpoint=row.id)
        return folder

    def fetch(self, row: CheckpointRow, cancel: CancelToken) -> Iterator[Downloading]:
        """Download what is missing of ``row``, going on from what an earlier try left.

        Yields twice a second and after the end. Raises Cancelled within half a second of ``cancel``, HubRefused,
        HubOffline, DiskTooSmall (before the first byte) or WeightsMissing.
        """
        if row.repo is None:
            self.require(row)
            return
        from .transfer import DownloadSource

        url = row.link or _url(row.repo)
        if row.base_repo is None:
            yield from self._fetch(DownloadSource(row.id, row.title, row.repo, url, row.variant), cancel)
            return
        base_url, done, needs_base = _url(row.base_repo), 0, self._base(row) is None
        # The larger one first: where the disk is too small, that shows before the first byte.
        for event in self._fetch(DownloadSource(row.id, row.title, row.repo, url, None, file=row.unet_file), cancel):
            done = event.done_bytes
            total = max(row.download_bytes, done) if needs_base else event.total_bytes
            yield event.model_copy(update={"total_bytes": total})
        if needs_base:
            rest = DownloadSource(row.id, row.title, row.base_repo, base_url, row.variant, without=layout.UNET)
            for event in self._fetch(rest, cancel):
                total = None if event.total_bytes is None else done + event.total_bytes
                yield event.model_copy(update={"done_bytes": done + event.done_bytes, "total_bytes": total})

    def _fetch(self, source: DownloadSource, cancel: CancelToken) -> Iterator[Downloading]:
        from huggingface_hub import constants

        from .transfer import Speed, Transfer

        transfer = Transfer(
            source, self.cache, self._endpoint or constants.ENDPOINT, self.settings.models_dir, self._free
        )
        speed, ticks = Speed(), 0
        transfer.start()
        try:
            while not transfer.ended.wait(_POLL):
                if cancel.is_set():
                    raise Cancelled()
                ticks += 1
                if ticks % round(_REPORT / _POLL) == 0:
                    yield _downloading(
                        transfer.done_bytes, transfer.total_bytes, source.id, speed.add(transfer.done_bytes)
                    )
        finally:
            transfer.stopping.set()
        if transfer.error is not None:
            raise transfer.error
        yield _downloading(transfer.done_bytes, transfer.total_bytes, source.id, None)

    # Prompt to first frame: any diffusers text-to-image repository or folder.

    def text_to_image_folder(self) -> Path | None:
        """The folder that ``SVD_UI_TEXT_TO_IMAGE`` names, or None when it names a repository."""
        path = Path(self.settings.text_to_image).expanduser()
        return path if path.is_dir() or path.is_absolute() or self.settings.text_to_image.startswith(".") else None

    def text_to_image_path(self) -> Path | None:
        """The diffusers folder that makes stills, or None when it is not on this machine."""
        folder = self.text_to_image_folder()
        if folder is not None:
            return folder if (folder / "model_index.json").is_file() else None
        repo = self.settings.text_to_image
        return self._snapshot(repo, "fp16") or self._snapshot(repo, None)

    def fetch_text_to_image(self, cancel: CancelToken) -> Iterator[Downloading]:
        """As ``fetch``, for the model that makes stills."""
        from .transfer import DownloadSource

        folder = self.text_to_image_folder()
        if folder is not None:
            if self.text_to_image_path() is None:
                remedy = "SVD_UI_TEXT_TO_IMAGE names a folder without a model_index.json."
                raise WeightsMissing(title=str(folder.name), remedy=remedy)
            return
        repo = self.settings.text_to_image
        yield from self._fetch(DownloadSource(TEXT_TO_IMAGE, repo, repo, _url(repo), "fp16"), cancel)

    # Housekeeping.

    def cached(self) -> list[Cached]:
        """Weights of the catalogue, and of the still maker, that take room in the shared cache."""
        rows = [
            (row.id, row.title, row.repo, self.present(row)) for row in checkpoints(self.settings).values() if row.repo
        ]
        if self.text_to_image_folder() is None:
            repo = self.settings.text_to_image
            rows.append((TEXT_TO_IMAGE, repo, repo, self.text_to_image_path()))
        found = []
        for id, title, repo, present in rows:
            folder = layout.repo_folder(self.cache, repo or "")
            if folder.is_dir():
                found.append(Cached(id, title, folder, _bytes_in(folder), present is not None))
        return found

    def remove(self, row: CheckpointRow) -> int:
        """Delete ``row`` from the shared cache, for every program that uses it; returns the bytes freed."""
        if row.repo is None:
            raise BadInput(f"{row.title} is a folder of yours: delete {row.folder} yourself.", field="checkpoint")
        if row.unet_file is not None:  # the base stays: it may be in use as a checkpoint of its own
            shutil.rmtree(self._composed_folder(row), ignore_errors=True)
        return self.remove_repo(row.repo)

    def remove_repo(self, repo: str) -> int:
        folder = layout.repo_folder(self.cache, repo)
        before = _bytes_in(folder) if folder.is_dir() else 0
        shutil.rmtree(folder, ignore_errors=True)
        return before - (_bytes_in(folder) if folder.is_dir() else 0)


def _url(repo: str) -> str:
    return f"https://huggingface.co/{repo}"


def _downloading(done: int, total: int | None, id: str, speed: float | None) -> Downloading:
    return Downloading(checkpoint=id, done_bytes=done, total_bytes=total, bytes_per_second=speed)


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
