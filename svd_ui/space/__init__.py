"""A folder that is a Hugging Face Space, made of this checkout: the same page, and what the platform wants beside it.

Two builds of one checkout with the same options are equal to the byte. Nothing is uploaded: that is its owner's to do.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import SecretStr

from .. import __version__
from ..catalog import CheckpointRow
from ..errors import BadInput
from ..settings import REPOSITORY, usable
from . import texts
from .hardware import Hardware

MANIFEST = ".svd-ui-space.json"
FOLDERS: Mapping[str, frozenset[str]] = {
    "svd_ui": frozenset({".py", ".json", ".html", ".sql", ".jinja"}),
    "assets": frozenset({".css", ".js", ".svg", ".jpg", ".json", ".md", ".safetensors"}),
    "presets": frozenset({".json"}),
}
"""What the app reads when it runs, by its endings: whatever else lies in a checkout stays behind."""
FILES = ("LICENSE", "NOTICE")
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
TOKEN = re.compile(rb"\bhf_[A-Za-z0-9]{30,}\b")


@dataclass(frozen=True)
class SpacePlan:
    """What a Space is to be. ``private_weights``: they need a token, so the app fetches them when it starts, not the build.

    ``revision`` is a commit of the checkpoint's repository; blank for its newest.
    """

    hardware: Hardware
    checkpoint: CheckpointRow
    title: str = "SVD UI"
    revision: str = ""
    private_weights: bool = False

    @property
    def preloads(self) -> bool:
        """Whether the platform brings the weights while it builds, which it does without a token."""
        return self.checkpoint.is_on_hub and not (self.private_weights or self.checkpoint.gated)


@dataclass(frozen=True)
class Built:
    """``files`` with their bytes, the largest first."""

    folder: Path
    files: tuple[tuple[str, int], ...]

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.files)


def build(out: Path, plan: SpacePlan) -> Built:
    """Write the folder ``out``, anew where an earlier build made it.

    Raises BadInput where it holds anything else, where the checkout is not whole, and where a file holds a secret.
    """
    before = _before(out)
    _check_sources()
    content = dict(sorted(_content(plan).items()))
    _check_secrets(content)
    _check_places(out, before.keys() | content.keys() | {MANIFEST})
    for name in before.keys() - content.keys():
        (out / name).unlink(missing_ok=True)
    for name, data in content.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (out / MANIFEST).write_bytes(_manifest(plan, content))
    sizes = sorted(((name, len(data)) for name, data in content.items()), key=lambda one: (-one[1], one[0]))
    return Built(out, tuple(sizes))


def manifest_of(out: Path) -> dict[str, str]:
    """What a build wrote into ``out``: file => SHA-256. Raises BadInput where none did, or it cannot be read.

    A clone's may be anybody's: one that names a file outside the folder, or of git's, is damaged.
    """
    try:
        files = json.loads((out / MANIFEST).read_text("utf-8"))["files"]
        found = {str(name): str(digest) for name, digest in files.items()}
        if strange := [name for name in found if not _may_be_ours(name)]:
            raise ValueError(f"no build writes {strange[0]!r}")
        return found
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        what = f"{out} was not made by 'svd-ui space build', or its {MANIFEST} is damaged"
        raise BadInput(f"{what}: build into an empty folder.") from error


def changed(out: Path) -> list[str]:
    """Files of a built folder that are not as they were written, or are gone."""
    return [name for name, digest in manifest_of(out).items() if _digest_of(out / name) != digest]


def _before(out: Path) -> dict[str, str]:
    """What an earlier build left. Its own files alone are replaced; a clone's ``.git`` stays."""
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out} is a file: give a folder.")
    found = {path.name for path in out.iterdir()} - {".git"} if out.is_dir() else set()
    if not found:
        return {}
    if MANIFEST not in found:
        what = ", ".join(sorted(found)[:3])
        raise BadInput(f"{out} holds something else ({what}): give an empty folder, or one that this command made.")
    return manifest_of(out)


def _may_be_ours(name: str) -> bool:
    """Whether ``name`` leads to a file in the folder, by any system's rules, and to nothing of git's."""
    parts = {part.casefold() for part in name.split("/")}
    return name.isprintable() and not {"\\", ":"} & {*name} and not {"", ".", "..", ".git"} & parts


def _check_places(out: Path, names: Iterable[str]) -> None:
    """Raises BadInput where a link would lead the writing or removing out of the folder, or something else is in a file's place."""
    for name in sorted(names):
        steps = [out / part for part in (name, *map(str, PurePosixPath(name).parents)) if part != "."]
        if link := next((path for path in steps if path.is_symlink()), None):
            raise BadInput(f"{link} is a link: remove it, or build into an empty folder.")
        if (out / name).is_dir() or any(path.is_file() for path in steps[1:]):
            raise BadInput(f"{out} has no place for {name}: build into an empty folder.")


def _check_sources() -> None:
    """Raises BadInput where the app was installed without what a Space is made of."""
    if missing := [name for name in (*FILES, texts.PINS, *FOLDERS) if not (REPOSITORY / name).exists()]:
        raise BadInput(f"{REPOSITORY} has no {missing[0]}: run 'space build' in a whole checkout of the app.")


def _content(plan: SpacePlan) -> dict[str, bytes]:
    texts_of_plan = {
        "README.md": texts.readme(plan),
        "requirements.txt": texts.requirements(plan.hardware),
        "app.py": texts.app(plan),
        ".gitattributes": texts.ATTRIBUTES,
    }
    if plan.hardware.packages:
        texts_of_plan["packages.txt"] = "".join(f"{name}\n" for name in plan.hardware.packages)
    copied = {path.relative_to(REPOSITORY).as_posix(): path.read_bytes() for path in _sources()}
    return {**copied, **{name: text.encode() for name, text in texts_of_plan.items()}}


def _sources() -> Iterator[Path]:
    yield from (REPOSITORY / name for name in FILES)
    for folder, endings in FOLDERS.items():
        for path in sorted((REPOSITORY / folder).rglob("*")):
            parts = path.relative_to(REPOSITORY).parts
            if path.suffix in endings and path.is_file() and not any(part.startswith((".", "__pyc")) for part in parts):
                yield path


def _check_secrets(content: Mapping[str, bytes]) -> None:
    """Raises BadInput where a file holds a token, or a secret of this machine's variables or ``.env``."""
    secrets = [value.get_secret_value() for _, value in usable()[0] if isinstance(value, SecretStr)]
    secrets += [os.environ.get(name, "") for name in TOKENS]
    known = [value.encode() for value in secrets if len(value) >= 8]
    for name, data in content.items():
        if name.endswith((".safetensors", ".jpg")):
            continue
        if TOKEN.search(data) or any(value in data for value in known):
            raise BadInput(f"{name} holds a secret: take it out first. Nothing was written.")


def _manifest(plan: SpacePlan, content: Mapping[str, bytes]) -> bytes:
    files = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    about = {"app": __version__, "hardware": plan.hardware.id, "checkpoint": plan.checkpoint.id, "files": files}
    return (json.dumps(about, indent=1, sort_keys=True) + "\n").encode()


def _digest_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
