"""A family of checkpoints, the half without torch, and a row of it: the embedded checkpoint with half its motion."""

from __future__ import annotations

from svd_ui.catalog import NANO, CheckpointRow, folder_row
from svd_ui.catalog.families import register
from svd_ui.catalog.families.warp import Warp


class Calm(Warp):
    """As the embedded checkpoint, but for what its other half says."""

    id = "calm"
    verbs = "stranger.calm_verbs:CalmVerbs"


register(Calm())


def rows() -> list[CheckpointRow]:
    """What the entry point ``svd_ui.checkpoints`` is asked for; a folder's ``svd_ui.json`` may name the family too."""
    return [folder_row(NANO, id="stranger:calm", title="Calm nano", family="calm", rank=1)]
