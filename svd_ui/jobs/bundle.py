"""The waiting jobs as one zip file, to be made elsewhere: their requests as JSON, and the pictures these name.

What comes in may be from anybody, so nothing but pictures and requests is taken, each checked like an upload: names, counts and
sizes before anything is read, pictures decoded anew, requests as any other release's.
"""

from __future__ import annotations

import io
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..asset_ref import REF
from ..assets import Assets
from ..errors import BadInput, SvdUiError
from ..media import atomic
from ..migration import migrate
from ..pictures import pictures
from ..request import SCHEMA_VERSION, GenerationRequest
from ..settings import Settings
from . import Job, JobKind
from .queue import CLIPS

LIST = "queue.json"
MAX_JOBS = 1000
MAX_LIST = 16_000_000
MAX_PICTURES = 2000
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, NotImplementedError)
_PICTURE = re.compile(r"pictures/([0-9a-f]{64})\.png")
_TIME = (1980, 1, 1, 0, 0, 0)  # equal queues, equal files


@dataclass(frozen=True)
class Entry:
    """One job of the file; ``dropped`` names settings that this release does not know."""

    kind: JobKind
    request: GenerationRequest
    name: str = ""
    dropped: tuple[str, ...] = ()


def write(path: Path, jobs: Sequence[Job], assets: Assets) -> None:
    """Put ``jobs`` into a zip at ``path``, atomically, with the pictures that are here. Raises BadInput for none, DiskFull."""
    wanted = [job for job in jobs if job.kind in CLIPS]
    if not wanted:
        raise BadInput("Nothing waits: there is nothing to export.")
    listed = [
        {"kind": job.kind, "name": job.name, "request": job.request.model_dump(mode="json", exclude_none=True)}
        for job in wanted
    ]
    text = json.dumps({"svd_ui": SCHEMA_VERSION, "jobs": listed}, indent=1)
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        file.writestr(zipfile.ZipInfo(LIST, _TIME), text, zipfile.ZIP_DEFLATED)
        for ref, data in _pictures_of(wanted, assets):
            file.writestr(zipfile.ZipInfo(f"pictures/{ref.removeprefix('sha256:')}.png", _TIME), data)


def _pictures_of(jobs: Sequence[Job], assets: Assets) -> Iterator[tuple[str, bytes]]:
    """Raises BadInput where one is not here any more, with the job that wants it."""
    wanted = {ref: job for job in jobs for _, ref in pictures(job.request)}
    for ref, job in sorted(wanted.items(), key=lambda item: item[0]):
        try:
            yield ref, assets.path(ref).read_bytes()
        except (SvdUiError, OSError) as error:
            raise BadInput(
                f"The picture of job {job.id[:8]} is not here any more: remove that job, and export again."
            ) from error


def read(source: Path | bytes, settings: Settings) -> list[Entry]:
    """The jobs in a zip, their pictures kept as assets here. Raises BadInput with what is wrong with it."""
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            infos = _checked(file, settings)
            data = json.loads(file.read(infos.pop(LIST)))
            entries = data["jobs"]
            if not isinstance(entries, list) or not 0 < len(entries) <= MAX_JOBS:
                raise BadInput(f"A queue file has 1 to {MAX_JOBS} jobs.")
            refs = {name: Assets.of(settings).add(file.read(info)).ref for name, info in infos.items()}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput("The list of jobs in this file is damaged.") from error
    except (*DAMAGED, RuntimeError) as error:  # RuntimeError: it is locked with a password
        raise BadInput("This is no queue file: it cannot be opened as a zip.") from error
    return [_entry(number, one, data.get("svd_ui"), refs) for number, one in enumerate(entries, 1)]


def _checked(file: zipfile.ZipFile, settings: Settings) -> dict[str, zipfile.ZipInfo]:
    """Name => entry: the list, and each picture under its ref. Raises BadInput."""
    infos, most = file.infolist(), settings.max_upload_mb * 1_000_000
    found = {info.filename: info for info in infos}
    if len(found) != len(infos) or len(infos) > MAX_PICTURES + 1:
        raise BadInput(f"A queue file has no two files of one name, and at most {MAX_PICTURES} pictures.")
    if LIST not in found:
        raise BadInput(f"This is no queue file: it has no {LIST}.")
    for name, info in found.items():
        if name != LIST and not _PICTURE.fullmatch(name):
            raise BadInput(f"A queue file holds pictures and {LIST} only, not {name[:80]!r}.")
        if info.file_size > (MAX_LIST if name == LIST else most):
            raise BadInput(f"{name[:80]} in this file is too large.")
    wanted = {LIST: found.pop(LIST)}
    return wanted | {f"sha256:{cast('re.Match[str]', _PICTURE.fullmatch(name))[1]}": one for name, one in found.items()}


def _entry(number: int, data: Any, version: Any, refs: dict[str, str]) -> Entry:
    """Job ``number`` of the list; refs are those of the pictures as they are kept here. Raises BadInput."""
    request = data.get("request") if isinstance(data, dict) else None
    if not isinstance(request, dict) or data.get("kind") not in CLIPS:
        raise BadInput(f"Job {number} of this file is none.")
    text = REF.sub(lambda found: refs.get(found[0], found[0]), json.dumps(request))
    values, dropped = migrate(GenerationRequest, json.loads(text), version)
    made = GenerationRequest.model_validate(values)
    if {ref for _, ref in pictures(made)} - set(refs.values()):
        raise BadInput(f"Job {number} of this file lacks its picture.")
    return Entry(data["kind"], made, str(data.get("name") or "")[:120], dropped)
