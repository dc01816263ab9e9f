"""Findings about what is installed: Python, packages, PyTorch against the card, codecs, plug-ins."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterator
from contextlib import suppress

from .. import plugins
from ..notes import Note, sentence
from ..settings import REPOSITORY
from .finding import PYTHON, Finding, Patient

OLDEST_PYTHON = (3, 11)


def python(_: Patient) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        yield Finding("python_old", {"version": version, "oldest": ".".join(map(str, OLDEST_PYTHON))})
    if sys.maxsize < 2**32:
        yield Finding("python_32_bits", {"version": version})


def packages(_: Patient) -> Iterator[Finding]:
    """What requirements.txt pins, less what is for some machines only."""
    with suppress(OSError):
        text = (REPOSITORY / "requirements.txt").read_text("utf-8")
        pins = re.findall(r"^([\w.-]+)==([\w.]+)$", text, re.MULTILINE)
        found = {name: installed(name) for name, _ in pins}
        missing = [name for name, version in found.items() if version is None]
        if missing:
            yield Finding("packages_missing", {"names": ", ".join(missing)})
        # Without what tells builds apart: 2.13.0+cpu is 2.13.0.
        plain = {name: version.partition("+")[0] for name, version in found.items() if version is not None}
        other = [f"{name} {plain[name]} (tested: {pin})" for name, pin in pins if plain.get(name, pin) != pin]
        if other:
            yield Finding("packages_other", {"names": ", ".join(other)}, wrong=False)


def installed(name: str) -> str | None:
    """The version of a package that is installed, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def card(patient: Patient) -> Iterator[Finding]:
    note = patient.device.build_mismatch if patient.device else None
    if note is None:
        return
    remedy = Note.model_validate(note.params["remedy"])
    command = str(remedy.params.get("command", "")).removeprefix("python ")
    install = f"{PYTHON} {command}" if command else sentence(remedy)
    params = {**note.params, "archs": ", ".join(note.params.get("archs", [])), "install": install, "command": command}
    yield Finding(note.code, params, repair="torch" if command else "")


def worker(patient: Patient) -> Iterator[Finding]:
    if patient.device is None:
        why = patient.trouble or "it did not answer"
        logs = str(patient.settings.logs_dir)
        yield Finding("worker_silent", {"why": why.rstrip("."), "logs": logs})


def codecs(_: Patient) -> Iterator[Finding]:
    try:
        import av
    except ImportError as error:
        yield Finding("codecs_broken", {"why": str(error)})
        return
    lacking = [name for name in ("libx264", "h264") if name not in av.codecs_available]  # encoder and decoder
    if lacking:
        yield Finding("codecs_missing", {"names": ", ".join(lacking)})


def fonts(_: Patient) -> Iterator[Finding]:
    from PIL import features

    lacking = [what for what, name in (("FreeType", "freetype2"), ("WebP", "webp")) if not features.check(name)]
    if lacking:
        yield Finding("pillow_lacks", {"names": ", ".join(lacking)}, wrong=False)


def others(_: Patient) -> Iterator[Finding]:
    for one in plugins.found():
        if one.trouble:
            yield Finding("plugin_broken", {"name": one.name, "package": one.package, "why": one.trouble.rstrip(".")})
