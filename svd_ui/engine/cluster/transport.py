"""Files between a page and a replica: cut into pieces that travel as messages, or laid down in a storage that both reach.

Whoever receives them trusts neither names nor sizes: a file has one of the names a clip's folder may hold, or is a picture that
is what its name says; it is whole, or not there.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ...asset_ref import REF
from ...assets import Assets
from ...errors import Unexpected
from ...media import atomic, disk_full

PIECE_BYTES = 4_000_000
MOST_BYTES = 4_000_000_000
"""Of one file: the latents of a minute of video, several times over."""
NAME = re.compile(r"(kept/)?[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}\.(mp4|jpg|gif|webp|zip|safetensors|json|npy)", re.ASCII)


@dataclass(frozen=True)
class Piece:
    """``data`` from ``at`` on, of a file of ``size`` bytes with this sha256."""

    name: str
    size: int
    digest: str
    at: int
    data: bytes


@dataclass(frozen=True)
class Laid:
    """A whole file that lies in the storage, under ``key``."""

    name: str
    size: int
    digest: str
    key: str


Parcel = Piece | Laid


class Storage:
    """A folder or bucket that page and replicas reach, by any address that fsspec knows. ``session`` is this clip's part of it."""

    def __init__(self, url: str, session: str) -> None:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped, unused-ignore]

        self._files, self._root = url_to_fs(url)
        self._session = session

    def lay(self, file: IO[bytes], name: str, size: int, digest: str) -> Laid:
        """``file`` from its beginning; a picture that lies there already is not written again."""
        key = f"pictures/{digest[:2]}/{digest}.png" if REF.fullmatch(name) else f"clips/{self._session}/{digest}"
        path = self._path(key)
        if not (self._files.exists(path) and self._files.size(path) == size):
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            aside = f"{path}.{secrets.token_hex(4)}"
            with self._files.open(aside, "wb") as target:
                while data := file.read(PIECE_BYTES):
                    target.write(data)
            self._files.mv(aside, path)
        return Laid(name, size, digest, key)

    def pieces(self, laid: Laid) -> Iterator[Piece]:
        """The file that was laid down. Raises Unexpected for a key that leads elsewhere."""
        if not re.fullmatch(r"(pictures/[0-9a-f]{2}|clips/[0-9a-f]{1,64})/[0-9a-f]{64}(\.png)?", laid.key):
            raise Unexpected(detail="a file lies in no place of ours")
        at = 0
        with self._files.open(self._path(laid.key), "rb") as file:
            while (data := file.read(PIECE_BYTES)) or at == 0:
                yield Piece(laid.name, laid.size, laid.digest, at, data)
                at += len(data)
                if not data:
                    return

    def clear(self) -> None:
        """Remove what crossed for this clip; pictures stay for the next one."""
        with suppress(Exception):  # of whatever storage it is: what is left there harms nobody
            self._files.rm(self._path(f"clips/{self._session}"), recursive=True)

    def _path(self, key: str) -> str:
        return f"{str(self._root).rstrip('/')}/{key}"


def pack(path: Path, name: str, storage: Storage | None = None) -> Iterator[Parcel]:
    """``path`` as what it takes to send it as ``name``; nothing where it is not there. Read through one handle: a file that is
    replaced meanwhile is sent as it was.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        file.seek(0)
        if storage is not None:
            yield storage.lay(file, name, size, digest)
            return
        for at in range(0, max(size, 1), PIECE_BYTES):
            yield Piece(name, size, digest, at, file.read(PIECE_BYTES))


class Unpacker:
    """Puts files together in ``folder``, and pictures among ``assets``. Close it: what is unfinished disappears."""

    def __init__(self, folder: Path, assets: Assets, storage: Storage | None = None) -> None:
        self.received: set[str] = set()
        self._folder, self._assets, self._storage = folder, assets, storage
        self._open: tuple[Piece, IO[bytes], Any] | None = None
        self._aside = folder / f".arriving-{secrets.token_hex(4)}.tmp"

    def take(self, parcel: Parcel) -> None:
        """Raises Unexpected for what cannot be a file of a clip, BadPicture, or DiskFull."""
        if isinstance(parcel, Piece):
            self._take(parcel)
            return
        if self._storage is None:
            raise Unexpected(detail="a file lies in a storage that this side does not use")
        for piece in self._storage.pieces(parcel):
            self._take(piece)

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None
        self._aside.unlink(missing_ok=True)

    def _take(self, piece: Piece) -> None:
        if self._open is None or piece.at == 0:
            self.close()
            self._begin(piece)
        assert self._open is not None, "it was begun"
        first, file, digest = self._open
        same = (piece.name, piece.size, piece.digest) == (first.name, first.size, first.digest)
        if not same or piece.at != file.tell() or piece.at + len(piece.data) > piece.size:
            raise Unexpected(detail="the pieces of a file do not fit together")
        with disk_full():
            file.write(piece.data)
        digest.update(piece.data)
        if file.tell() == piece.size:
            file.close()
            self._open = None
            if digest.hexdigest() != piece.digest:
                raise Unexpected(detail="a file arrived damaged")
            self._keep(piece.name)

    def _begin(self, piece: Piece) -> None:
        picture = REF.fullmatch(piece.name)
        most = 4 * self._assets.max_pixels + 1_000_000 if picture else MOST_BYTES
        if not (picture or NAME.fullmatch(piece.name)) or not 0 <= piece.size <= most or piece.at:
            raise Unexpected(detail="a file arrived that no clip has")
        with disk_full():
            self._aside.parent.mkdir(parents=True, exist_ok=True)
            self._open = (piece, self._aside.open("wb"), hashlib.sha256())

    def _keep(self, name: str) -> None:
        if REF.fullmatch(name):
            self._assets.accept(name, self._aside)
        else:
            with atomic(self._folder / name) as temporary:
                os.replace(self._aside, temporary)
        self.received.add(name)
