"""The model hub: what is on this machine, and what can be fetched. No torch.

Weights live in the hub's own cache (``HF_HOME``), shared with other programs, or wherever models are looked for. A
token is read by huggingface_hub (``HF_TOKEN`` or ``hf auth login``) and never shown or logged.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..catalog import CheckpointRow, checkpoints, trouble_of
from ..catalog.folders import UNET, is_complete
from ..errors import BadInput, Cancelled, WeightsDamaged, WeightsMissing
from ..events import CancelToken, Downloading
from ..notes import Note, sentence
from ..settings import Settings
from . import layout

if TYPE_CHECKING:
    from .transfer import DownloadSource, Transfer

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


def existing(path: Path) -> Path:
    """``path``, or what is there of it."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _free_bytes(path: Path) -> int:
    return shutil.disk_usage(existing(path)).free


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
        self._is_given = cache is not None

    @property
    def cache(self) -> Path:
        if self._cache is None:
            from huggingface_hub import constants

            self._cache = Path(constants.HF_HUB_CACHE)
        return self._cache

    @cached_property
    def sources(self) -> layout.Sources:
        """What of a row is on this machine."""
        return layout.Sources(self.settings, [self.cache] if self._is_given else [self.cache, *layout.older_caches()])

    def present(self, row: CheckpointRow) -> Path | None:
        """What ``row`` loads from, a diffusers folder or one file of everything; None when (part of) it is not here."""
        if row.path is None and row.unet_file is None:
            return self.sources.snapshot(row.repo) or next(iter(row.sources), None)
        if row.path is not None and trouble_of(row) is not None:
            return None
        if row.unet is None and row.path is not None:
            return row.path
        unet, base = self.sources.unet(row), self.sources.base(row)
        return layout.compose(self._composed_folder(row), base, unet, row.variant) if unet and base else None

    def where(self, row: CheckpointRow) -> Path | None:
        """The folder or file to show for ``row``: of what is made of two parts the U-Net. None where nothing is here."""
        if row.path is not None:
            return row.unet or row.path
        return self.sources.unet(row) if row.unet_file is not None else self.present(row)

    def trouble(self, row: CheckpointRow) -> Note | None:
        """Why ``row`` cannot be used as things are, and what to do; None where it can."""
        if self.present(row) is not None:
            return None
        damage = trouble_of(row)
        if damage is not None:
            return damage
        if row.base_repo is not None and self.sources.unet(row) is not None:
            return Note.of("base_missing", id=row.id)
        return Note.of("not_downloaded", id=row.id)

    def _composed_folder(self, row: CheckpointRow) -> Path:
        return self.settings.data_dir / "composed" / re.sub(r"[^\w.@-]", "_", row.id)

    def require(self, row: CheckpointRow) -> Path:
        """``present``, or WeightsMissing that says what is missing and how to get it."""
        found, why = self.present(row), self.trouble(row)
        if found is not None:
            return found
        if why is not None and why.code == WeightsDamaged.code:
            raise WeightsDamaged(**why.params, title=row.title, checkpoint=row.id)
        raise WeightsMissing(title=row.title, remedy=sentence(why), checkpoint=row.id)

    def fetch(self, row: CheckpointRow, cancel: CancelToken) -> Iterator[Downloading]:
        """Download what is missing of ``row``, going on from what an earlier try left.

        Yields twice a second and after the end. Raises Cancelled within half a second of ``cancel``, HubRefused,
        HubOffline, DiskTooSmall (before the first byte) or WeightsMissing.
        """
        if not row.is_on_hub:
            self.require(row)
            return
        from .transfer import DownloadSource

        if row.base_repo is None:
            url = row.link or _url(row.repo)
            yield from self._fetch(DownloadSource(row.id, row.title, row.repo or "", url, row.variant), cancel)
            return
        done, needs_base = 0, self.sources.base(row) is None
        # The larger one first: where the disk is too small, that shows before the first byte.
        if row.repo is not None and not row.sources:
            unet = DownloadSource(row.id, row.title, row.repo, row.link or _url(row.repo), None, file=row.unet_file)
            for event in self._fetch(unet, cancel):
                done = event.done_bytes
                total = max(row.download_bytes, done) if needs_base else event.total_bytes
                yield event.model_copy(update={"total_bytes": total})
        if needs_base:
            base_url = _url(row.base_repo)
            rest = DownloadSource(row.id, row.title, row.base_repo, base_url, row.variant, without=UNET)
            for event in self._fetch(rest, cancel):
                total = None if event.total_bytes is None else done + event.total_bytes
                yield event.model_copy(update={"done_bytes": done + event.done_bytes, "total_bytes": total})

    def _fetch(self, source: DownloadSource, cancel: CancelToken) -> Iterator[Downloading]:
        from huggingface_hub import constants

        from .transfer import Speed, Transfer

        endpoint = self._endpoint or constants.ENDPOINT
        transfer = Transfer(source, self.cache, endpoint, self.settings.models_dir, self._free)
        speed, ticks = Speed(), 0
        transfer.start()
        try:
            while not transfer.ended.wait(_POLL):
                if cancel.is_set():
                    raise Cancelled()
                ticks += 1
                if ticks % round(_REPORT / _POLL) == 0:
                    yield _downloading(transfer, speed.add(transfer.done_bytes))
        finally:
            transfer.stopping.set()
        if transfer.error is not None:
            raise transfer.error
        yield _downloading(transfer, None)

    # Prompt to first frame: any diffusers text-to-image repository or folder.

    def text_to_image_folder(self) -> Path | None:
        """The folder that ``SVD_UI_TEXT_TO_IMAGE`` names, or None when it names a repository."""
        path = Path(os.path.expanduser(self.settings.text_to_image))
        return path if path.is_dir() or path.is_absolute() or self.settings.text_to_image.startswith(".") else None

    def text_to_image_path(self) -> Path | None:
        """The diffusers folder that makes stills, or None when it is not on this machine."""
        folder = self.text_to_image_folder()
        if folder is not None:
            return folder if (folder / "model_index.json").is_file() else None
        found = self.sources.snapshots(self.settings.text_to_image)
        return next((path for path in found if any(is_complete(path, one) for one in ("fp16", None))), None)

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
            (row.id, row.title, row.repo, self.present(row) if row.unet_file else self.sources.snapshot(row.repo))
            for row in checkpoints(self.settings).values()
            if row.repo
        ]
        if self.text_to_image_folder() is None:
            repo = self.settings.text_to_image
            rows.append((TEXT_TO_IMAGE, repo, repo, self.text_to_image_path()))
        folders = ((id, title, layout.repo_folder(self.cache, repo), path) for id, title, repo, path in rows)
        return [
            Cached(id, title, folder, _bytes_in(folder), path is not None)
            for id, title, folder, path in folders
            if folder.is_dir()
        ]

    def remove(self, row: CheckpointRow) -> int:
        """Delete ``row`` from the shared cache, for every program that uses it; returns the bytes freed."""
        if row.repo is None or (row.sources and not layout.repo_folder(self.cache, row.repo).is_dir()):
            place = row.path or row.sources[0]
            raise BadInput(f"{row.title} is a file or folder of yours: delete {place} yourself.", field="checkpoint")
        if row.unet_file is not None:  # the base stays: it may be in use as a checkpoint of its own
            shutil.rmtree(self._composed_folder(row), ignore_errors=True)
        return self.remove_repo(row.repo)

    def remove_repo(self, repo: str) -> int:
        folder = layout.repo_folder(self.cache, repo)
        before = _bytes_in(folder) if folder.is_dir() else 0
        shutil.rmtree(folder, ignore_errors=True)
        return before - (_bytes_in(folder) if folder.is_dir() else 0)


def _url(repo: str | None) -> str:
    return f"https://huggingface.co/{repo}"


def _downloading(transfer: Transfer, speed: float | None) -> Downloading:
    done, total = transfer.done_bytes, transfer.total_bytes
    return Downloading(checkpoint=transfer.source.id, done_bytes=done, total_bytes=total, bytes_per_second=speed)


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
