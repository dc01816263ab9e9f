"""What is kept of a clip while it is made, so that one whose process was killed goes on from its last step, to the bit.

A walk can go on from any of its steps: what the model is told and all noise follow from the seed. So the latents of the last
step are enough, with a proof that the same walk is asked for: request, weights, LoRAs, number format and versions. Frames
that took long to decode are kept too, the still made from a prompt, and the result, which is complete before its job says so.

Everything lies in one folder beside the results. It is written aside and replaced, without waiting for the disk: a file that
a power cut left unreadable is as good as none. What cannot be kept, on a full disk say, is not, and the clip goes on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from ..events import Result
from ..notes import Note, read_notes
from ..post import Frames
from ..request import GenerationRequest

if TYPE_CHECKING:
    import torch

    from ..core.sampling.samplers import Step

log = logging.getLogger(__name__)
KEPT = "kept"
"""The folder's name, in the job's."""
KEEP_SECONDS = 2.0
"""So much work at least lies between two keepings: 3.7 MB of SVD-XT's latents take some thousandths of that."""
MOST_FRAME_BYTES = 1_000_000_000
"""A clip of a minute would fill gigabytes with frames: what follows these is decoded again."""
NO_DIFFERENCE = frozenset({"post", "output_format", "decode_chunk_size", "profile"})
"""Fields of a request that the latents do not depend on."""


class Progress:
    """Keeps into ``folder``/kept, and finds what an earlier process kept there; without a folder it does nothing.

    ``seconds`` of work have to lie between two keepings; ``KEEP_SECONDS`` unless given.
    """

    def __init__(self, folder: Path | None = None, seconds: float | None = None) -> None:
        self._folder = None if folder is None else folder / KEPT
        self._seconds = KEEP_SECONDS if seconds is None else seconds
        self._since = time.monotonic()
        self._frames_until = self._frame_bytes = 0

    def begin(self) -> None:
        """Work begins now; what went before, such as loading a model, is not in question."""
        self._since = time.monotonic()

    @property
    def keeps(self) -> bool:
        """Whether there is a folder for it."""
        return self._folder is not None

    # Steps

    def keep_step(
        self, proof: str, step: Step, notes: Iterable[Note] = (), name: str = "step", *, now: bool = False
    ) -> None:
        """``step`` in the place of an earlier one of this ``name``, if enough work went into it, or ``now``."""
        if self._folder is None or not (now or time.monotonic() - self._since >= self._seconds):
            return
        from safetensors.torch import save_file

        told = json.dumps([note.model_dump() for note in notes])
        about = {"proof": proof, "index": str(step.index), "total": str(step.total), "notes": told}
        latents = step.latents.detach().cpu().contiguous()
        self._write(f"{name}.safetensors", lambda path: save_file({"latents": latents}, path, about))
        self._since = time.monotonic()

    def step(
        self, proof: str, device: torch.device | str = "cpu", name: str = "step"
    ) -> tuple[Step, list[Note]] | None:
        """The step kept under that ``proof``, on ``device``, and what had been said by then; None where there is none."""
        path = self._path(f"{name}.safetensors")
        if path is None:
            return None
        from safetensors import safe_open

        from ..core.sampling.samplers import Step

        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
                if about.get("proof") != proof:
                    return None
                latents = file.get_tensor("latents").clone().to(device)
            step = Step(int(about["index"]), int(about["total"]), latents, latents)
            return step, list(read_notes(json.loads(about["notes"])))
        except Exception as error:  # of a library in Rust, or of whatever else a damaged file leads to
            log.warning("a kept step could not be read: %s", error)
            return None

    # Frames

    def keep_frames(self, proof: str, start: int, frames: Frames, seconds: float) -> None:
        """``frames`` [f H W 3] from the one numbered ``start`` on, which took ``seconds``: none are kept after a gap."""
        fits = self._frame_bytes + frames.nbytes <= MOST_FRAME_BYTES
        if self._folder is None or seconds < self._seconds or start != self._frames_until or not fits:
            return
        if self._write(_frames(proof, start), partial(_save_npy, frames)):
            self._frames_until += len(frames)
            self._frame_bytes += frames.nbytes

    def frames(self, proof: str, start: int) -> Frames | None:
        """The kept frames that begin with the one numbered ``start``."""
        path = self._path(_frames(proof, start))
        if path is None:
            return None
        try:
            frames: Frames = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            log.warning("kept frames could not be read: %s", error)
            return None
        self._frames_until = start + len(frames)
        return frames

    # The still of a prompt, and the end

    def keep_still(self, proof: str, ref: str) -> None:
        self._write("still.json", _text({"proof": proof, "still": ref}))

    def still(self, proof: str) -> str | None:
        """The ref of the still made under that ``proof``."""
        found = self._read("still.json")
        return str(found["still"]) if found.get("proof") == proof and "still" in found else None

    def any_still(self) -> str | None:
        """The ref of the still that is kept, whatever it was made under: for who hands everything on."""
        found = self._read("still.json").get("still")
        return found if isinstance(found, str) else None

    def keep_result(self, asked: GenerationRequest, result: Result) -> None:
        """All files of ``result`` are complete: that is what is kept from here on."""
        values = {"asked": asked.model_dump(mode="json"), "result": result.model_dump(mode="json")}
        if self._write("result.json", _text(values)) and self._folder is not None:
            for path in self._folder.iterdir():  # only now: whoever is killed in between goes on from these
                if path.name != "result.json":
                    path.unlink(missing_ok=True)

    def result(self, asked: GenerationRequest) -> Result | None:
        """The result of that very request, whose files are all here; its job ended before anybody wrote that down."""
        found = self._read("result.json")
        if self._folder is None or found.get("asked") != asked.model_dump(mode="json"):
            return None
        try:
            result = Result.model_validate(found["result"])
        except (ValidationError, KeyError):
            return None
        names = [result.video, result.poster, result.frames, result.animation, result.latents]
        names += [tile.video for tile in result.tiles]
        files = [self._folder.parent / name for name in names if name]
        return result if files and all(path.is_file() and path.stat().st_size for path in files) else None

    def clear(self) -> None:
        """Nothing is to go on from here."""
        self._frames_until = self._frame_bytes = 0
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, name: str) -> Path | None:
        path = None if self._folder is None else self._folder / name
        return path if path is not None and path.is_file() else None

    def _read(self, name: str) -> dict[str, Any]:
        path = self._path(name)
        if path is None:
            return {}
        try:
            data = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}

    def _write(self, name: str, write: Callable[[Path], object]) -> bool:
        """What ``write`` writes, whole or not at all; whether it was."""
        if self._folder is None:
            return False
        temporary = self._folder / f".{name}.{secrets.token_hex(4)}.tmp"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write(temporary)
            os.replace(temporary, self._folder / name)
            return True
        except Exception as error:  # the clip matters, not what is kept of it
            log.warning("%s was not kept: %s", name, error)
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            return False


def hand_on(before: Path, after: Path) -> None:
    """What was kept in one job's folder is now another's, which asks for the same."""
    if (before / KEPT).is_dir():
        with suppress(OSError):
            after.mkdir(parents=True, exist_ok=True)
            os.replace(before / KEPT, after / KEPT)


def _frames(proof: str, start: int) -> str:
    return f"frames-{proof[:24]}-{start:06}.npy"


def _save_npy(frames: Frames, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, frames, allow_pickle=False)


def _text(values: dict[str, Any]) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(values), "utf-8")


# Proofs


def proof_of(facts: Mapping[str, Any]) -> str:
    """One text for ``facts``, plain values: equal facts, equal text."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def proof_of_latents(proof: str, latents: torch.Tensor, chunk: int) -> str:
    """Of the frames of these ``latents``, decoded ``chunk`` at a time."""
    data = latents.detach().float().cpu().contiguous().numpy().tobytes()
    return proof_of({"walk": proof, "latents": hashlib.sha256(data).hexdigest(), "chunk": chunk})


def same_latents(request: GenerationRequest) -> dict[str, Any]:
    """What of ``request`` its latents depend on."""
    values = request.model_dump(mode="json")
    if request.wall:  # a tile is the same, whichever others are made
        del values["wall"]["without"]
    return {name: value for name, value in values.items() if name not in NO_DIFFERENCE}


def fingerprint(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of every file of ``path``, a folder or a file: another download or edit changes it."""
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    return [(one.name, (facts := one.stat()).st_size, facts.st_mtime_ns) for one in files]
