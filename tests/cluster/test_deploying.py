"""How many replicas somebody asks for."""

from __future__ import annotations

import pytest

from svd_ui.engine.cluster.deploying import Bounds
from svd_ui.errors import BadInput


@pytest.mark.parametrize(
    ("text", "devices", "least", "most"),
    [
        ("auto", 4, 1, 4),
        ("auto", 0, 1, 1),
        ("2", 9, 2, 2),
        ("1..8", 0, 1, 8),
        ("0..3", 0, 0, 3),
        ("1000", 0, 1000, 1000),
    ],
)
def test_replicas_are_auto_a_number_or_a_range(text: str, devices: int, least: int, most: int) -> None:
    assert Bounds.parse(text, devices) == Bounds(least, most)


@pytest.mark.parametrize(
    "text", ["", "0", "0..0", "8..1", "-1", "1..", "..2", "1001", "two", "1...2", "1..2..3", "1 ", "٣"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"1\.\.8"):
        Bounds.parse(text, 4)


def test_a_fixed_number_does_not_scale_and_a_range_does_by_clips() -> None:
    assert Bounds(2, 2).options() == {"num_replicas": 2}
    scaling = Bounds(1, 8).options()["autoscaling_config"]
    assert (scaling["min_replicas"], scaling["max_replicas"], scaling["target_ongoing_requests"]) == (1, 8, 1)
