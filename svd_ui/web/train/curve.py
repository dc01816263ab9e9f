"""The loss over a run's steps as an inline picture: what was measured, faint, and its running mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

WIDTH, HEIGHT, EDGE = 600, 120, 4
MAX_POINTS = 300
SMOOTHING = 0.9
"""Share of the running mean that a step keeps, as TensorBoard's dial of that name."""


def render(lines: Iterable[dict[str, float]]) -> str:
    """'' before the second step."""
    pairs = [(line["step"], line["loss"]) for line in lines if "loss" in line and "step" in line]
    if len(pairs) < 2:
        return ""
    mean = smoothed([loss for _, loss in pairs])
    points = _thinned(list(zip(pairs, mean, strict=True)))
    raw, smooth = [(s, v) for (s, v), _ in points], [(s, m) for (s, _), m in points]
    low, high = _range([v for _, v in raw], [v for _, v in smooth])
    steps = (points[0][0][0], points[-1][0][0])
    said = f"Loss from {mean[0]:.3g} at step {steps[0]:.0f} to {mean[-1]:.3g} at step {steps[1]:.0f}, smoothed"
    return (
        f'<figure class="curve"><figcaption><span>Loss</span><b>{mean[-1]:.4g}</b></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{said}">'
        f'<path class="raw" d="{_path(raw, steps, low, high)}"/><path class="mean" d="{_path(smooth, steps, low, high)}"/></svg>'
        f'<div class="ends" aria-hidden="true"><span>step {steps[0]:.0f}</span><span>{steps[1]:.0f}</span></div></figure>'
    )


def smoothed(values: Sequence[float]) -> list[float]:
    """Running means, without the pull towards zero that the first ones would have."""
    kept, weight, found = 0.0, 0.0, []
    for value in values:
        kept = SMOOTHING * kept + (1 - SMOOTHING) * value
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        found.append(kept / weight)
    return found


def _thinned(points: list[tuple[tuple[float, float], float]]) -> list[tuple[tuple[float, float], float]]:
    """At most ``MAX_POINTS``, the last always among them."""
    step = max(1, -(-len(points) // MAX_POINTS))
    return [*points[:-1:step], points[-1]]


def _range(raw: list[float], mean: list[float]) -> tuple[float, float]:
    """Of the picture: single losses are noisy, the highest fiftieth of them may leave it."""
    ordered = sorted(raw)
    low, high = min(*ordered, *mean), max(ordered[-1 - len(ordered) // 50], *mean)
    return low, high if high > low else low + 1e-9


def _path(points: list[tuple[float, float]], steps: tuple[float, float], low: float, high: float) -> str:
    span = max(1.0, steps[1] - steps[0])

    def place(step: float, value: float) -> str:
        y = EDGE + (HEIGHT - 2 * EDGE) * (1 - (min(value, high) - low) / (high - low))
        return f"{WIDTH * (step - steps[0]) / span:.1f} {y:.1f}"

    return "M" + "L".join(place(*point) for point in points)
