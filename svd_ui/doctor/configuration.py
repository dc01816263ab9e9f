"""The settings as they are followed, and findings about them: names, values, and what they ask for."""

from __future__ import annotations

import difflib
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from ..catalog import checkpoints
from ..errors import BadInput, without_secrets
from ..model_dirs import places
from ..network import PUBLIC, free_port, host_of, proxy_for, tls, why_unreachable
from ..notes import sentence
from ..settings import Settings, env_values
from .finding import Finding, Patient

OURS = ("SVD_UI_TORCH", "SVD_UI_SCREENSHOTS", "SVD_UI_REQUIRE_", "SVD_UI_TEST_")
"""Variables of the scripts and the tests."""
NOT_READ = {
    "GRADIO_SERVER_NAME": "SVD_UI_HOST",
    "GRADIO_SERVER_PORT": "SVD_UI_PORT",
    "GRADIO_SHARE": "SVD_UI_SHARE",
    "TRANSFORMERS_CACHE": "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE": "HF_HUB_CACHE",
    "HUGGING_FACE_HUB_TOKEN": "HF_TOKEN",
}
"""Old names, and another program's => the one that is read here, or will be alone."""
LOOK_SECONDS = 2.0


def setting_facts(settings: Settings) -> list[dict[str, str]]:
    """Every SVD_UI_ variable: its value, where that comes from, and what it does. Secrets are only said to be set."""
    return [
        {
            "variable": f"SVD_UI_{name.upper()}",
            "value": _shown(getattr(settings, name)),
            "source": _source(name, getattr(settings, name), field.default),
            "help": field.description or "",
        }
        for name, field in Settings.model_fields.items()
    ]


def tilde(path: Path | str) -> str:
    """A path for people: the home folder, and with it the user's name, becomes ``~``."""
    home, text = str(Path.home()), str(path)
    inside = home != "/" and (text == home or text.startswith(home + os.sep))
    return "~" + text[len(home) :] if inside else text


def _shown(value: Any) -> str:
    if value is None:
        return "(not set)"
    if isinstance(value, SecretStr):
        return "(set)" if value.get_secret_value() else "(not set)"
    return without_secrets(tilde(value)) if isinstance(value, Path | str) else str(value)


def _source(name: str, value: Any, default: Any) -> str:
    given = {variable.lower(): source for variable, source in env_values().items()}
    found = given.get(f"svd_ui_{name}") or (given.get("gradio_root_path") if name == "root_path" else None)
    return found or ("default" if value in {default, ""} else "option")


def values(patient: Patient) -> Iterator[Finding]:
    for variable, reason in patient.faults.items():
        yield Finding("setting_wrong", {"variable": variable, "reason": reason.rstrip(".")})


def variables(_: Patient) -> Iterator[Finding]:
    known = {f"SVD_UI_{name.upper()}" for name in Settings.model_fields}
    given = env_values()
    for name, source in given.items():
        upper = name.upper()
        if upper in NOT_READ and NOT_READ[upper] not in given:
            yield Finding("variable_of_others", {"name": name, "instead": NOT_READ[upper]}, wrong=False)
        if not upper.startswith("SVD_UI") or upper in known or upper.startswith(OURS):
            continue
        near = difflib.get_close_matches(upper, known, 1, 0.75)
        code = "variable_misspelt" if near else "variable_unknown"
        mendable = bool(near) and source == ".env" and near[0] not in given
        params = {"name": name, "source": source, "nearest": near[0] if near else ""}
        yield Finding(code, params, repair="variables" if mendable else "")


def address(patient: Patient) -> Iterator[Finding]:
    settings = patient.settings
    try:
        tls(settings)
    except BadInput as error:
        yield Finding("https_unusable", {"why": error.message})
    try:
        port = free_port(host_of(settings), settings.port)
    except OSError as error:
        yield Finding("address_unusable", {"why": str(error)})
        return
    if port != settings.port:
        yield Finding("port_taken", {"port": settings.port, "free": port}, wrong=False)
    if settings.is_public and not settings.has_login and not os.path.exists("/.dockerenv"):
        yield Finding("open_to_all", {"host": settings.host}, wrong=False)


def network(_: Patient) -> Iterator[Finding]:
    """The way to the hub, looked at as far as this side of it: a proxy and a mirror that were set, not the hub itself."""
    from huggingface_hub import constants

    endpoint, proxy = constants.ENDPOINT, proxy_for(constants.ENDPOINT)
    if why := why_unreachable(endpoint):
        yield Finding("hub_cut_off", {"why": why})
    elif proxy and not _listens(proxy):
        yield Finding("proxy_silent", {"proxy": proxy})
    elif endpoint != PUBLIC and not proxy and not _listens(endpoint):
        yield Finding("mirror_silent", {"endpoint": endpoint})
    token = os.environ.get("HF_TOKEN", "")
    if token.strip() and not re.fullmatch(r"[\w.-]+", token.strip()):
        yield Finding("token_odd")


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "socks5": 1080, "socks5h": 1080}.get(parts.scheme, 80)
    try:
        socket.create_connection((parts.hostname or "", port), LOOK_SECONDS).close()
    except OSError:
        return False
    return True


def weights(patient: Patient) -> Iterator[Finding]:
    """What the settings ask for and this machine does not have."""
    from huggingface_hub import constants, get_token

    settings, hub = patient.settings, patient.hub
    for place in places(settings).troubles:
        if place.why.code == "place_missing":
            yield Finding("folder_absent", {"path": str(place.path), "variable": "SVD_UI_CHECKPOINT_DIRS"})
    still = hub.text_to_image_folder()
    if still is not None and hub.text_to_image_path() is None:
        yield Finding("still_maker_absent", {"path": str(still)})
    rows = checkpoints(settings)
    row = rows.get(settings.checkpoint)
    if settings.checkpoint == "auto" or (row is not None and hub.present(row) is not None):
        return
    if row is None:
        near = difflib.get_close_matches(settings.checkpoint, rows, 1)
        names = near[0] if near else ", ".join(rows)
        yield Finding("checkpoint_unknown", {"name": settings.checkpoint, "known": names})
    elif row.repo is None:
        yield Finding("checkpoint_damaged", {"title": row.title, "why": sentence(hub.trouble(row)).rstrip(".")})
    elif constants.HF_HUB_OFFLINE:
        yield Finding("offline", {"title": row.title, "models": str(settings.models_dir)})
    elif row.gated and not get_token():
        yield Finding("token_missing", {"title": row.title, "url": row.link, "id": row.id})
    else:
        yield Finding("weights_absent", {"title": row.title, "id": row.id}, wrong=False)
