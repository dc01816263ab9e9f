"""Checkpoints and memory profiles as data. Adding one is adding a row; no torch here."""

from .finding import NANO, checkpoint, checkpoint_dirs, checkpoints, folder_row, nano_row
from .profiles import GB, PROFILES, ProfileRow, profile_for, smaller_profile
from .rows import SD_PREVIEW, STABILITY_ROWS, CheckpointRow

__all__ = [
    "GB",
    "NANO",
    "PROFILES",
    "SD_PREVIEW",
    "STABILITY_ROWS",
    "CheckpointRow",
    "ProfileRow",
    "checkpoint",
    "checkpoint_dirs",
    "checkpoints",
    "folder_row",
    "nano_row",
    "profile_for",
    "smaller_profile",
]
