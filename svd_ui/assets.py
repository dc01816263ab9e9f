"""Pictures of the data folder, named by their content. The only door through which pictures enter."""

from __future__ import annotations

import hashlib
import io
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from .asset_ref import REF
from .errors import BadInput, BadPicture, NotFound
from .media import atomic, write_bytes
from .media import image as media_image
from .media.footage import FootageFacts, Moment, footage
from .media.reading import Reader
from .media.subject import Subject, subject
from .notes import Note
from .request import FOCUS, GenerationRequest
from .settings import Settings

MB = 1_000_000
DAMAGED = (
    "The stored copy of this picture was damaged or replaced on disk: add the picture again, which puts it right, "
    "or choose another."
)


@dataclass(frozen=True)
class Added:
    """A stored picture: its name, size in pixels, and what was changed on the way in."""

    ref: str
    width: int
    height: int
    notes: tuple[Note, ...] = ()


class Assets:
    """``<root>/<first two digits>/<sha256>.png``: clean RGB, no EXIF, no GPS, written atomically, never changed.

    A file's time is when it was last added or asked for, so that housekeeping removes only what nobody uses.
    """

    def __init__(self, root: Path, *, max_bytes: int, max_pixels: int) -> None:
        self.root, self.max_bytes, self.max_pixels = Path(root), max_bytes, max_pixels

    @classmethod
    def of(cls, settings: Settings) -> Assets:
        return cls(settings.assets_dir, max_bytes=settings.max_upload_mb * MB, max_pixels=settings.max_pixels)

    def add(self, data: bytes | Path, background: str = "#ffffff", moment: Moment | None = None) -> Added:
        """Keep an upload: its bytes, or a file this program itself chose to open (never a path from a client). Of a clip
        the frame at ``moment``, the first one without.

        Raises BadPicture with one sentence, BadInput for a moment that is not there, or DiskFull.
        """
        limits = {"max_bytes": self.max_bytes, "max_pixels": self.max_pixels}
        picture = media_image.load(data, **limits, background=background, moment=moment)
        ref = self.keep(picture.image)
        _SUBJECTS.of(
            ref, lambda: picture.image
        )  # while it is decoded: a large one takes longer to open than to look at
        return Added(ref, *picture.image.size, picture.notes)

    def facts_of_clip(self, path: Path) -> FootageFacts | None:
        """Of a file that may be a clip; None for what is none. Raises BadPicture where it cannot be read."""
        with footage(path, Reader(self.max_pixels)) as clip:
            return clip.facts if clip else None

    def frame(self, path: Path, moment: Moment) -> Image.Image:
        """A frame of a clip, to be looked at and not kept. Raises as ``add`` does."""
        return media_image.load(path, max_bytes=self.max_bytes, max_pixels=self.max_pixels, moment=moment).image

    def keep(self, image: Image.Image) -> str:
        """Store a clean RGB picture and return its ref; the same pixels give the same ref."""
        buffer = io.BytesIO()
        # A copy built from the pixels alone carries none of the metadata Pillow would write out again.
        clean = Image.frombytes("RGB", image.size, image.convert("RGB").tobytes())
        clean.save(buffer, "PNG", compress_level=1)  # level 6 takes five times as long for a tenth of the size
        data = buffer.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        path = self._file(digest)
        if not self._holds(path, digest):  # or not any more: what was damaged there is whole again
            write_bytes(path, data)
        return f"sha256:{digest}"

    def accept(self, ref: str, file: Path) -> None:
        """Move ``file`` here, which another machine of ours made and says to be ``ref``. Raises BadPicture for anything else."""
        path = self._file(ref.removeprefix("sha256:"))
        try:
            with Image.open(file, formats=["PNG"]) as image:
                good = image.mode == "RGB" and image.width * image.height <= self.max_pixels
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise BadPicture("A picture arrived that is none.") from error
        if not (good and REF.fullmatch(ref) and self._holds(file, path.stem)):
            raise BadPicture("A picture arrived that is not what it should be.")
        with atomic(path) as temporary:
            os.replace(file, temporary)

    def path(self, ref: str) -> Path:
        """The file of ``ref``, whole. Raises BadInput for anything but a ref, NotFound for one that is not here, BadPicture
        for one whose file is not what was kept.
        """
        if not isinstance(ref, str) or not REF.fullmatch(ref):
            raise BadInput(
                "Pictures are named sha256:<64 hex digits>: upload the file instead of sending a path.", field="image"
            )
        digest = ref.removeprefix("sha256:")
        path = self._file(digest)
        if not self._holds(path, digest):
            if path.is_file():
                raise BadPicture(DAMAGED)
            raise NotFound(what="picture", field="image")
        return path

    def open(self, ref: str) -> Image.Image:
        """The picture as loaded RGB. Raises as ``path`` does."""
        with Image.open(self.path(ref), formats=["PNG"]) as image:
            rgb: Image.Image = image.convert("RGB")
            return rgb

    def size(self, ref: str) -> tuple[int, int]:
        """(width, height) of the picture. Raises as ``path`` does."""
        with Image.open(self.path(ref), formats=["PNG"]) as image:
            width, height = image.size
            return width, height

    def subject(self, ref: str) -> Subject:
        """What the picture is of. Raises as ``path`` does."""
        return _SUBJECTS.of(ref, lambda: self.open(ref))

    def focused(self, request: GenerationRequest, width: int, height: int) -> GenerationRequest:
        """``request`` with the focus of a clip of that size on the subject of its picture, where the focus is blank.

        What is stored then holds the numbers, and gives the same clip again. Raises as ``path`` does.
        """
        blank = [name for name in FOCUS if getattr(request, name) is None]
        if not blank or request.image is None:
            return request
        found = dict(zip(FOCUS, self.subject(request.image).focus(width, height), strict=True))
        return request.model_copy(update={name: found[name] for name in blank})

    def last_used(self, after: float, before: float) -> Iterator[tuple[str, Path]]:
        """(ref, file) of the pictures last added or asked for between these times."""
        for path in self.root.glob("??/*.png"):
            with suppress(OSError):  # gone meanwhile
                if after <= path.stat().st_mtime < before and REF.fullmatch(ref := f"sha256:{path.stem}"):
                    yield ref, path

    @staticmethod
    def _holds(path: Path, digest: str) -> bool:
        """Whether the picture is here with its content; it is marked as in use."""
        try:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    return False
        except OSError:
            return False
        with suppress(OSError):
            os.utime(path)
        return True

    def _file(self, digest: str) -> Path:
        return self.root / digest[:2] / f"{digest}.png"


class _Subjects:
    """What was found in the last pictures, by ref: looked for once, shared by everyone in this process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: OrderedDict[str, Subject] = OrderedDict()

    def of(self, ref: str, picture: Callable[[], Image.Image]) -> Subject:
        found = self._found.get(ref) or subject(picture())
        self._found[ref] = found
        while len(self._found) > self._most:
            with suppress(KeyError):  # another thread was faster
                self._found.popitem(last=False)
        return found


_SUBJECTS = _Subjects(256)
