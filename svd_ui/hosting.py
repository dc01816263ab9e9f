"""Where the app runs: what a Hugging Face Space says of itself in its environment, and where it may keep things there."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path

STORAGE = (Path("/data"),)
"""Where a Space's storage is mounted: a bucket that is attached, or the disk that older Spaces have."""
OAUTH = ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL")


def on_space() -> bool:
    """Whether this is a Space: its page is reached by strangers, through a proxy, in a frame."""
    return "SPACE_ID" in os.environ


def space_hosts() -> list[str]:
    """The names that a Space is reached by, its own first; with a domain of one's own there are several."""
    return [name for name in map(str.strip, os.environ.get("SPACE_HOST", "").lower().split(",")) if name]


def signs_in() -> bool:
    """Whether this is a Space whose README asks for ``hf_oauth``: the page then has a button to sign in with.

    gradio pretends a sign-in wherever its own look at the environment finds no Space, or signs sessions with a known secret
    where there is none: neither may tell who somebody is.
    """
    gradio_knows = os.environ.get("SYSTEM") == "spaces"
    return on_space() and gradio_knows and all(os.environ.get(name) for name in OAUTH)


def on_zero_gpu() -> bool:
    """Whether a GPU is lent for each call, as the package ``spaces`` decides it."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in {"1", "t", "true"}


def settle(defaults: Mapping[str, str], storage: Iterable[Path] = STORAGE) -> None:
    """Variables of a Space that nobody set: ``defaults``, and the folder where jobs and clips are kept."""
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("SVD_UI_DATA_DIR"):
        kept = next((place for place in storage if holds_a_history(place)), None)
        if kept is not None:
            os.environ["SVD_UI_DATA_DIR"] = str(kept / "svd-ui")
        else:
            print("Nothing is mounted at /data that could hold the history: it ends with this Space's next restart.")


def holds_a_history(place: Path) -> bool:
    """Whether a folder is there that takes a database as the app keeps it. A mounted bucket is no ordinary disk: it is tried."""
    probe = place / ".svd-ui-probe.sqlite3"
    if not place.is_dir():
        return False
    try:
        with closing(sqlite3.connect(probe, timeout=2.0)) as one, closing(sqlite3.connect(probe, timeout=2.0)) as other:
            one.execute("PRAGMA journal_mode = WAL")
            with one:
                one.execute("CREATE TABLE IF NOT EXISTS probe (number INTEGER)")
                one.execute("INSERT INTO probe VALUES (1)")
            return bool(other.execute("SELECT COUNT(*) FROM probe").fetchone()[0])
    except (sqlite3.Error, OSError):
        return False
    finally:
        for ending in ("", "-wal", "-shm"):
            with suppress(OSError):
                probe.with_name(probe.name + ending).unlink(missing_ok=True)
