"""Clips made by replicas of a Ray cluster: what a page, the desk in the cluster and the replicas say to each other.

    page (``engine.ray``, ``link``)  ->  ``desk``: who makes what for whom  ->  ``replica``, in a worker of its own

A page asks the desk to have a clip made, then asks for news until it has ended: that needs only short calls, which Ray's
client can make from any machine, and a page that asks no more is gone. ``serving`` is the part that runs inside Ray, ``deploying``
starts it. Everything here but ``link``, ``serving`` and ``deploying`` knows nothing of Ray.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

from ...errors import Unexpected
from ...events import Event

APP, CLIPS = "svd-ui", "Clips"
DESK_APP, DESK = "svd-ui-desk", "Desk"
"""Names in Ray Serve: an application and its one deployment, twice. The desk outlives a new deployment of the replicas."""


@dataclass(frozen=True)
class Order:
    """A clip to be made. Plain values only, since page and cluster may be of different releases until that is known.

    ``page`` is the mark of the page's data folder, ``place`` the job's folder in it, '' where it lies elsewhere. ``brings`` says that
    pictures and what was kept come along, for a replica that does not see that folder. ``storage`` is where files cross, '' for Ray; ``trace`` is the context of the job's spans.
    """

    session: str
    release: str
    method: str
    request: dict[str, Any]
    page: str
    place: str = ""
    brings: bool = False
    storage: str = ""
    waiting: int = 0
    trace: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Began:
    """The first message: a replica has taken the order. ``shared``: it writes into the page's own folder."""

    replica: str
    shared: bool


@dataclass(frozen=True)
class Unshared:
    """The replica does not see the page's folder, and nothing was brought: the order is to be given again."""


@dataclass(frozen=True)
class OnDevice:
    """The replica's device, as plain values."""

    device: dict[str, Any]


@dataclass(frozen=True)
class Told:
    """An event of the engine: the name of its class and its fields."""

    kind: str
    values: dict[str, Any]

    @classmethod
    def of(cls, event: Event) -> Told:
        return cls(type(event).__name__, event.model_dump())

    def event(self) -> Event:
        """Raises Unexpected for what is no event of this release."""
        found: type[Any] | None = EVENTS.get(self.kind)
        try:
            if found is not None:
                return found.model_validate(self.values)  # type: ignore[no-any-return]
        except ValueError:
            pass
        raise Unexpected(detail="the replica said something that this page does not understand")


EVENTS = {kind.__name__: kind for kind in get_args(Event)}


@dataclass(frozen=True)
class Ended:
    """The last message; ``error`` is an ``SvdUiError`` as plain values, None where the clip was made."""

    error: dict[str, Any] | None = None
