"""Putting our replicas into a Ray cluster, looking at them, and taking them out again."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ... import __version__
from ...errors import BadInput, ClusterUnusable, NoReplica, SvdUiError, without_secrets
from ..worker import build_local
from ..worker_handle import EngineFactory
from . import APP, DESK, DESK_APP
from .link import DEPLOY, connect

LONGEST_DRAIN = 3600.0
"""Seconds that a replica may take to end its clip before it is replaced."""
MOST = 1000
LOGS = "See 'ray status' and the logs of Ray."
INSTALL = (
    "Install it on every machine of the cluster, in the Python that runs Ray there: in its folder, .venv/bin/python -m pip install "
    "-e '.[cluster]'. Then start Ray anew. Or start Ray with PYTHONPATH set to that folder."
)


@dataclass(frozen=True)
class Bounds:
    """How many replicas run at least and at most."""

    least: int
    most: int

    @classmethod
    def parse(cls, text: str, devices: int) -> Bounds:
        """``auto``: from one to ``devices``; else ``2``, or ``1..8``. Raises BadInput."""
        if text == "auto":
            return cls(1, max(1, devices))
        found = re.fullmatch(r"(\d{1,4})(?:\.\.(\d{1,4}))?", text, re.ASCII)
        least = int(found[1]) if found else 0
        most = int(found[2] or found[1]) if found else 0
        if not (0 <= least <= most and 1 <= most <= MOST):
            raise BadInput(
                f"Replicas are auto, a number, or least..most such as 1..8; at most {MOST}.", field="replicas"
            )
        return cls(least, most)

    def options(self) -> dict[str, Any]:
        """For ``serve.deployment``: what waits or runs is what counts, one clip to a replica."""
        if self.least == self.most:
            return {"num_replicas": self.most}
        scaling = {
            "min_replicas": self.least,
            "max_replicas": self.most,
            "target_ongoing_requests": 1,
            "upscale_delay_s": 5,
            "downscale_delay_s": 300,
        }
        return {"autoscaling_config": scaling}


@dataclass(frozen=True)
class Deployment:
    """What to deploy. ``gpus`` and ``cpus`` are what each replica gets; ``data_dir`` '' is what its machine's settings say."""

    bounds: Bounds
    gpus: float
    cpus: float = 1
    data_dir: str = ""
    factory: EngineFactory = build_local


def gpus_of(ray: Any) -> int:
    return int(ray.cluster_resources().get("GPU", 0))


def deploy(address: str, what: Deployment, wait: float) -> dict[str, Any]:
    """Replicas of this release, in place of those that run; each ends its clip first. Returns ``status``.

    The desk stays where it is of this release: what runs goes on, what waits in the pages is not touched. Raises
    ClusterUnusable, also where this app is not installed there, or NoReplica where none was ready within ``wait`` seconds.
    """
    connect(address)
    try:
        _put_in(what)
        _until_ready(address, what.bounds, wait)
    except SvdUiError:
        raise
    except Exception as error:  # whatever Ray and its Serve raise; their desk's own reason is not in it
        text = str(error) or type(error).__name__
        with suppress(Exception):
            text += "\n" + _told(DESK_APP)
        raise ClusterUnusable(address=address, reason=_last_line(text), remedy=_remedy(text, LOGS)) from error
    return status(address)


def _put_in(what: Deployment) -> None:
    """Start the desk, unless it runs, and ask for the replicas."""
    from ray import serve

    from .serving import Clips, Desk

    serve.start(proxy_location="Disabled")  # nothing of this listens for HTTP
    if _hello() is None:
        desk = serve.deployment(Desk, name=DESK, max_ongoing_requests=100_000, ray_actor_options={"num_cpus": 0})
        serve.run(desk.bind(what.bounds.most), name=DESK_APP, route_prefix=None)
    serve.get_deployment_handle(DESK, DESK_APP).set_most.remote(what.bounds.most).result(timeout_s=30)
    clips = serve.deployment(
        Clips,
        max_ongoing_requests=1,
        graceful_shutdown_timeout_s=LONGEST_DRAIN,
        ray_actor_options={"num_cpus": what.cpus, "num_gpus": what.gpus},
        **what.bounds.options(),
    )
    target = serve.RunTarget(clips.bind(what.data_dir, what.factory), name=APP, route_prefix=None)
    serve.run_many([target], wait_for_applications_running=False)


def _told(name: str) -> str:
    """What Serve says about an application and its deployments, with the tracebacks of their workers; '' where it says nothing."""
    from ray import serve

    application = serve.status().applications.get(name)
    if application is None:
        return ""
    messages = [application.message, *(each.message for each in application.deployments.values())]
    return "\n".join(filter(None, messages))


def _remedy(text: str, otherwise: str) -> str:
    return INSTALL if "No module named 'svd_ui" in text else otherwise


def _last_line(text: str) -> str:
    """Of a traceback that is what happened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return without_secrets(lines[-1])[:300].rstrip(".") if lines else ""


def status(address: str) -> dict[str, Any]:
    """``{state, message, release, most, replicas, running, waiting}``. Raises ClusterUnusable."""
    connect(address)
    from ray import serve

    applications = serve.status().applications
    hello = _hello(any_release=True)
    if APP not in applications or hello is None:
        raise ClusterUnusable(address=address, reason="none of our replicas runs there", remedy=DEPLOY)
    application = applications[APP]
    return {"state": str(application.status.value), "message": application.message, **hello}


def delete(address: str) -> int:
    """Take everything of ours out of the cluster; what runs goes back to its pages. Returns how many clips that were."""
    connect(address)
    from ray import serve

    stopped = 0
    with suppress(Exception):  # there may be no desk, or one that does not answer: it is deleted all the same
        if _hello(any_release=True) is not None:
            stopped = serve.get_deployment_handle(DESK, DESK_APP).stop_all.remote().result(timeout_s=30)
    for name in (APP, DESK_APP):
        serve.delete(name)
    return stopped


def _hello(any_release: bool = False) -> dict[str, Any] | None:
    """What the desk says; None where there is none, or one of another release."""
    from ray import serve

    if DESK_APP not in serve.status().applications:
        return None
    hello: dict[str, Any] = serve.get_deployment_handle(DESK, DESK_APP).hello.remote().result(timeout_s=30)
    return hello if any_release or hello["release"] == __version__ else None


def _until_ready(address: str, bounds: Bounds, wait: float) -> None:
    from ray import serve

    until = time.monotonic() + wait
    while True:
        application = serve.status().applications[APP]
        if application.status.value == "RUNNING":
            return
        if application.status.value == "DEPLOY_FAILED" or time.monotonic() > until:
            text = _told(APP)
            reason = f"no replica was ready in time ({_last_line(text) or application.status.value})"
            remedy = _remedy(text, f"{bounds.least} have to find a place. {LOGS}")
            raise NoReplica(address=address, reason=reason, remedy=remedy)
        time.sleep(0.5)
