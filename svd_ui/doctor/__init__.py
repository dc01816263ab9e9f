"""The facts of an installation: what ``python -m svd_ui doctor`` prints and an error report carries. No secrets, no torch.

The device is asked through an engine, so that neither the page nor the command line imports torch; the home
folder is written as ``~``.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from .. import __version__, plugins
from ..catalog import CheckpointRow, checkpoints, survey
from ..engine import Device, Timed
from ..errors import BadInput, without_secrets
from ..hub import TEXT_TO_IMAGE, Hub, existing
from ..hub.selection import Checkpoints
from ..network import proxy_for
from ..notes import sentence
from ..settings import Settings
from . import configuration, devices, folders, software
from .configuration import setting_facts, tilde
from .finding import Check, Finding, Patient

__all__ = ["admit", "checkpoint_facts", "device_facts", "examine", "facts", "measured", "setting_facts", "tilde"]

PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "xformers", "gradio", "huggingface_hub", "av", "pillow")
CHECKS: tuple[Check, ...] = (
    software.python,
    software.packages,
    configuration.values,
    configuration.variables,
    software.card,
    software.worker,
    devices.usable,
    folders.writable,
    folders.disk,
    folders.history,
    software.codecs,
    software.fonts,
    configuration.address,
    configuration.network,
    configuration.weights,
    software.others,
    folders.rubbish,
)
"""In the order in which a person should mend."""


def admit(settings: Settings, faults: dict[str, str]) -> Patient:
    """The installation, ready to be examined; ``faults`` are the variables that could not be followed, and why."""
    found = devices.look(settings)
    device = next((one.device for one in found if one.device is not None), None)
    trouble = "" if device is not None or not found else found[0].why
    return Patient(settings, faults, Hub(settings), device, trouble, found)


def examine(patient: Patient) -> list[Finding]:
    """Everything that is not as it should be, what is to be mended first in front."""
    return [finding for check in CHECKS for finding in check(patient)]


def facts(patient: Patient, findings: list[Finding]) -> dict[str, Any]:
    """Everything worth knowing, as JSON."""
    settings, hub = patient.settings, patient.hub
    return {
        "versions": versions(),
        "system": _system(),
        "device": device_facts(patient.device),
        "device_trouble": without_secrets(patient.trouble),
        "devices": [devices.facts_of(one) for one in patient.devices],
        "checkpoint": _chosen(settings, hub, patient.device),
        "checkpoints": checkpoint_facts(hub),
        "refused": refused_facts(settings),
        "disk": _disks(settings, hub),
        "hub": _hub(),
        "plugins": plugin_facts(),
        "settings": setting_facts(settings),
        "findings": [finding.to_dict() for finding in findings],
    }


def device_facts(device: Device | None) -> dict[str, Any] | None:
    """The device as JSON for people: the reasons in words."""
    if device is None:
        return None
    reasons = ("profile_reason", "attention_reason", "build_mismatch")
    words = {name: sentence(getattr(device, name)) for name in reasons}
    return {**device.model_dump(mode="json"), **words}


def measured(settings: Settings) -> tuple[str, list[Timed]]:
    """Measure the device's choices in a worker; (its name, the rows). Raises what the worker says of its device."""
    from ..engine.worker import WorkerEngine

    with closing(WorkerEngine(settings)) as engine:
        rows = engine.benchmark()
        device = engine.describe()
        return device.name if device else "Unknown device", rows


def versions() -> dict[str, str]:
    """This app, Python and the packages that matter, from their metadata; ``missing`` where not installed."""
    found = {name: software.installed(name) or "missing" for name in PACKAGES}
    return {"svd_ui": __version__, "python": platform.python_version(), **found}


def checkpoint_facts(hub: Hub) -> list[dict[str, Any]]:
    """Every checkpoint, and the model that makes stills: what it is, whether and where it is here, why it cannot be used."""
    plain = ("id", "title", "download_bytes", "licence", "licence_url", "link", "gated", "note")
    facts = [
        {**{name: getattr(row, name) for name in plain}, **_whereabouts(hub, row)}
        for row in checkpoints(hub.settings).values()
    ]
    still = {
        "id": TEXT_TO_IMAGE,
        "title": tilde(hub.settings.text_to_image),
        "present": (still_path := hub.text_to_image_path()) is not None,
        "where": tilde(still_path) if still_path else "",
        "trouble": "",
        "same_as": "",
        "download_bytes": 0,
        "licence": "see its page",
        "licence_url": "",
        "link": "" if hub.text_to_image_folder() else f"https://huggingface.co/{hub.settings.text_to_image}",
        "gated": False,
        "note": "makes pictures from prompts",
    }
    return [*facts, still]


def _whereabouts(hub: Hub, row: CheckpointRow) -> dict[str, Any]:
    present, where, trouble = hub.present(row) is not None, hub.where(row), hub.trouble(row)
    return {
        "present": present,
        "where": tilde(where) if where else "",
        "trouble": sentence(trouble) if row.path is not None else "",
        "same_as": row.same_as,
    }


def refused_facts(settings: Settings) -> list[dict[str, str]]:
    """What lies where models are looked for and cannot be used as a checkpoint, and why."""
    return [{"path": tilde(one.path), "why": sentence(one.why)} for one in survey(settings).refused]


def plugin_facts() -> list[dict[str, str]]:
    """What other packages add, from where, and why something of it could not be loaded."""
    return [
        {"group": one.group, "name": one.name, "value": one.value, "package": one.package, "trouble": one.trouble}
        for one in plugins.found()
    ]


def _system() -> dict[str, Any]:
    memory = psutil.virtual_memory()
    return {
        "platform": platform.platform(),
        "executable": tilde(sys.executable),
        "cpu_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": memory.total,
        "memory_free_bytes": memory.available,
    }


def _disks(settings: Settings, hub: Hub) -> dict[str, dict[str, Any]]:
    return {name: _disk(path) for name, path in (("data", settings.data_dir), ("hub_cache", hub.cache))}


def _disk(path: Path) -> dict[str, Any]:
    there = existing(path)
    usage = shutil.disk_usage(there)
    return {
        "path": tilde(path),
        "free_bytes": usage.free,
        "total_bytes": usage.total,
        "writable": os.access(there, os.W_OK),
    }


def _hub() -> dict[str, Any]:
    from huggingface_hub import constants, get_token

    return {
        "endpoint": without_secrets(constants.ENDPOINT),
        "proxy": without_secrets(proxy_for(constants.ENDPOINT)),
        "offline": bool(constants.HF_HUB_OFFLINE),
        "token": "(set)" if get_token() else "(not set)",
    }


def _chosen(settings: Settings, hub: Hub, device: Device | None) -> dict[str, str]:
    """The checkpoint that ``auto`` means here, and why."""
    try:
        row = Checkpoints(settings, hub).resolve("auto", device)
    except BadInput as error:  # SVD_UI_CHECKPOINT names none of ours: what a doctor is asked about
        return {"id": settings.checkpoint, "reason": error.message}
    if settings.checkpoint != "auto":
        reason = "named by SVD_UI_CHECKPOINT"
    elif hub.present(row) is None:
        reason = "no weights are on this machine yet"
    elif row.id == "nano":
        reason = (
            "embedded; the larger ones want a GPU"
            if device is None or device.kind == "cpu"
            else "no larger one that fits is here"
        )
    else:
        reason = "the best one on this machine"
    return {"id": row.id, "reason": reason}
