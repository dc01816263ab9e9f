"""The files of a Space that are written for it: its README with front matter, requirements, and entry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..catalog import CheckpointRow
from ..settings import REPOSITORY, Settings
from .hardware import WHEELS, Hardware

if TYPE_CHECKING:
    from . import SpacePlan

OURS = "# Made by 'svd-ui space build'."
ATTRIBUTES = "".join(f"*.{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in ("jpg", "safetensors"))
"""Large and binary files go through the hub's store for them, also where one pushes with git."""
PINS = "requirements.txt"
SPACES = "spaces>=0.51,<1"
"""The package that lends GPUs, in the range that was tried: pyproject.toml has the same."""
LEFT_OUT = {"torch", "xformers", "gradio"}
SHORT = "Animate a still with Stable Video Diffusion"
VARIABLES = (
    "max_seconds", "max_queue", "max_visitor_jobs", "max_upload_mb", "max_pixels", "operators", "text_to_image", "checkpoint", "data_dir",
)  # fmt: skip
"""Settings that the owner of a Space may want to change."""
COMPONENTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "image_encoder": "model"}


def pins() -> dict[str, str]:
    """Package => its line in requirements.txt."""
    lines = (REPOSITORY / PINS).read_text("utf-8").splitlines()
    return {line.partition("==")[0]: line for line in lines if line and not line.startswith("#")}


def requirements(hardware: Hardware) -> str:
    """The app's own pins, with the PyTorch that this hardware takes. No xformers: it is for one version of PyTorch alone."""
    known = pins()
    torch = f"torch=={hardware.torch}" if hardware.torch else known["torch"]
    lines = [OURS]
    if hardware.wheels:
        lines.append(f"--extra-index-url {WHEELS}/{hardware.wheels}")
        torch += f"+{hardware.wheels}"
    lines += [line for name, line in known.items() if name not in LEFT_OUT]
    lines += [known["gradio"].replace("gradio", "gradio[oauth]", 1), torch]
    lines += [SPACES] if hardware.kind == "zero" else []
    return "\n".join(lines) + "\n"


def preload(row: CheckpointRow, revision: str = "") -> list[str]:
    """Lines of ``preload_from_hub``: repository, files, commit. The files are those that loading reads, in one precision."""
    if not row.is_on_hub:
        return []
    base = _files(row.variant)
    if row.unet_file is None:
        return [_line(row.repo, base, revision)]
    return [
        _line(row.repo, [row.unet_file], revision),
        _line(
            row.base_repo, [name for name in base if not (name.startswith("unet/") and name.endswith("tensors"))], ""
        ),
    ]


def _files(variant: str | None) -> list[str]:
    ending = f".{variant}.safetensors" if variant else ".safetensors"
    rest = ["model_index.json", "feature_extractor/preprocessor_config.json", "scheduler/scheduler_config.json"]
    return rest + [
        file for part, name in COMPONENTS.items() for file in (f"{part}/config.json", f"{part}/{name}{ending}")
    ]


def _line(repo: str | None, files: list[str], revision: str) -> str:
    return " ".join(filter(None, [repo, ",".join(files), revision]))


def front_matter(plan: SpacePlan) -> dict[str, Any]:
    """What the platform reads, in the order it is written."""
    row, hardware = plan.checkpoint, plan.hardware
    repos = [repo for repo in (row.repo, row.base_repo) if repo]
    told: dict[str, Any] = {
        "title": plan.title,
        "emoji": "🎞️",
        "colorFrom": "indigo",
        "colorTo": "purple",
        "sdk": "gradio",
        "sdk_version": pins()["gradio"].partition("==")[2],
        "python_version": hardware.python,
        "app_file": "app.py",
        "fullWidth": True,
        "license": "apache-2.0",
        "short_description": SHORT,
        "tags": ["image-to-video", "stable-video-diffusion"],
        "suggested_hardware": hardware.flavour,
        "startup_duration_timeout": "1h" if repos else "30m",
        "hf_oauth": True,
        "hf_oauth_expiration_minutes": 480,
    }
    told |= {"models": repos} if repos else {}
    return told | ({"preload_from_hub": preload(row, plan.revision)} if plan.preloads else {})


def app(plan: SpacePlan) -> str:
    """The entry. Defaults are variables, so that those of the Space win."""
    settings = {"SVD_UI_CHECKPOINT": plan.checkpoint.id, **plan.hardware.settings}
    return _filled("app.py.jinja", settings=dict(sorted(settings.items())), zero=plan.hardware.kind == "zero")


def readme(plan: SpacePlan) -> str:
    known = Settings.model_fields
    rows = [(f"SVD_UI_{name.upper()}", known[name].description, _value(plan, name)) for name in VARIABLES]
    front = yaml.safe_dump(front_matter(plan), sort_keys=False, allow_unicode=True, width=10_000)
    return _filled(
        "README.md.jinja", front=front, plan=plan, row=plan.checkpoint, hardware=plan.hardware, variables=rows
    )


def _value(plan: SpacePlan, name: str) -> str:
    if name == "data_dir":
        return "/data/svd-ui where something is mounted at /data"
    if name == "checkpoint":
        return plan.checkpoint.id
    default = Settings.model_fields[name].default
    return plan.hardware.settings.get(f"SVD_UI_{name.upper()}", str(default))


def _filled(name: str, **values: Any) -> str:
    loader = FileSystemLoader(Path(__file__).parent)
    made = Environment(
        loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return made.get_template(name).render(**values)
