"""What was asked about a picture is answered again without another look, and forgotten after a while."""

from __future__ import annotations

import numpy as np

from svd_ui.steering.remembering import remembered


def test_the_same_picture_is_looked_at_once_and_another_anew() -> None:
    looks = []

    @remembered(2)
    def mean(picture: np.ndarray, scale: float = 1.0) -> float:
        looks.append(1)
        return float(picture.mean()) * scale

    one, other = np.zeros((4, 4)), np.ones((4, 4))
    assert mean(one) == mean(one.copy()) == 0
    assert len(looks) == 1
    assert mean(other) == 1
    assert mean(other, scale=2.0) == 2
    assert len(looks) == 3
    assert mean(one.reshape(2, 8)) == 0
    assert len(looks) == 4
    mean(one)  # was forgotten for two others
    assert len(looks) == 5
