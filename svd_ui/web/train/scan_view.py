"""What is in the clips, as HTML: stretches with their labels, the histogram, what was left out and why."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from .. import icons
from .scan_worker import Key, Looked

if TYPE_CHECKING:
    from ...clips import Dropped

MAX_DROPPED = 60


def render(looked: Looked, wanted: Key | None) -> str:
    """``wanted`` is what the form asks for now: an outcome for something else says so."""
    if looked.state == "looking":
        return _card(_progress(looked))
    if looked.state == "failed":
        return _card(
            f'<div class="card-error"><div><h2>Nothing to train on yet</h2><p>{escape(looked.message)}</p></div></div>'
        )
    if looked.state != "done" or looked.scan is None:
        return _card(_empty())
    found = looked.scan
    frames = found.stretches[0].num_frames
    head = (
        f"<h2>{_many(len(found.stretches), 'training clip')} of {frames} frames</h2>"
        f'<p class="quiet">From {_many(found.sources, "file")} with {_many(found.scenes, "scene")} in '
        f"<b>{escape(looked.collection)}</b>, {_many(len(found.dropped), 'stretch', 'stretches')} left out.</p>"
    )
    old = (
        '<p class="quiet stale">Clips, size, frames or checkpoint have changed since: look through them again.</p>'
        if wanted is not None and wanted != looked.key
        else ""
    )
    return _card(f"{head}{old}{_thumbs(looked)}{_histogram(found.histogram)}{_dropped(found.dropped)}")


def _card(inner: str) -> str:
    return f'<section class="stage looked" aria-label="What is in the clips">{inner}</section>'


def _empty() -> str:
    return (
        f'<div class="frame frame-empty"><div class="hello">{icons.CLIP}<h2>Teach it your motion</h2>'
        "<p>Add clips that move the way you want, look through them, then press <b>Start training</b>. A LoRA from a "
        "handful of clips is a good beginning.</p></div></div>"
    )


def _progress(looked: Looked) -> str:
    share = min(1.0, max(0, looked.done - 1) / looked.total)
    return (
        f'<div class="line"><div><b>Looking through the clips</b><span class="count">{escape(looked.current)}</span></div></div>'
        f'<div class="bar" role="progressbar" aria-label="Looking through the clips" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{share * 100:.0f}"><i style="width:{share * 100:.1f}%"></i></div>'
    )


def _thumbs(looked: Looked) -> str:
    assert looked.scan is not None
    cells = "".join(
        f'<figure title="{escape(thumb.source)}"><img alt="First frame, from {escape(thumb.source)}" src="{thumb.uri}">'
        f"<figcaption>motion {thumb.label}</figcaption></figure>"
        for thumb in looked.thumbs
    )
    more = len(looked.scan.stretches) - len(looked.thumbs)
    return f'<div class="stretches">{cells}</div>' + (f'<p class="quiet">and {more} more</p>' if more > 0 else "")


def _histogram(counts: Sequence[int]) -> str:
    """Bars from calm to lively; the same in words for those who do not see them."""
    most = max([*counts, 1])
    width = 255 / max(1, len(counts))
    parts = [(round(1 + i * width), round((i + 1) * width), count) for i, count in enumerate(counts)]
    said = ", ".join(f"{count} from {low} to {high}" for low, high, count in parts if count)
    bars = "".join(
        f'<i style="height:{max(3.0, 100 * count / most) if count else 0:.0f}%" title="{low}–{high}: {count}"></i>'
        for low, high, count in parts
    )
    return (
        f'<figure class="histogram"><figcaption>Motion labels</figcaption><div class="bars" role="img" '
        f'aria-label="Motion labels: {said}">{bars}</div>'
        '<div class="ends" aria-hidden="true"><span>1 calm</span><span>255 lively</span></div></figure>'
    )


def _dropped(dropped: Sequence[Dropped]) -> str:
    if not dropped:
        return ""
    items = "".join(f"<li><b>{escape(one.name)}</b> {escape(_reason(one))}</li>" for one in dropped[:MAX_DROPPED])
    more = f"<li>and {len(dropped) - MAX_DROPPED} more</li>" if len(dropped) > MAX_DROPPED else ""
    return f'<details class="dropped"><summary>Left out: {len(dropped)}</summary><ul>{items}{more}</ul></details>'


def _reason(one: Dropped) -> str:
    """Without the name, which stands before it."""
    return one.reason.removeprefix(one.name).strip()


def _many(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or f'{one}s'}"
