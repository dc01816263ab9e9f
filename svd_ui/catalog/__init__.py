"""Checkpoints and memory profiles as data. Adding one is adding a row; no torch here."""

from .checkpoint import SD_PREVIEW, STABILITY_ROWS, CheckpointRow
from .local_rows import folder_row, trouble_of
from .profiles import GB, PROFILES, ProfileRow, profile_for, smaller_profile
from .recognition import short_title
from .registry import NANO, Survey, checkpoints, find_checkpoint, nano_row, survey

__all__ = [
    "GB",
    "NANO",
    "PROFILES",
    "SD_PREVIEW",
    "STABILITY_ROWS",
    "CheckpointRow",
    "ProfileRow",
    "Survey",
    "checkpoints",
    "find_checkpoint",
    "folder_row",
    "nano_row",
    "profile_for",
    "short_title",
    "smaller_profile",
    "survey",
    "trouble_of",
]
