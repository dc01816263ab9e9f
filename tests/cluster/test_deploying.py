"""How many replicas somebody asks for, and what is said where they do not come."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from svd_ui.engine.cluster import APP, DESK_APP, deploying
from svd_ui.engine.cluster.deploying import Bounds, Deployment, deploy
from svd_ui.errors import BadInput, ClusterUnusable, NoReplica


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


ABSENT = """The deployment failed to start 3 times in a row. Error:
Traceback (most recent call last):
  File "replica.py", line 1, in __init__
ModuleNotFoundError: No module named 'svd_ui'"""
FULL = "Deployment 'Clips' has 1 replicas that have taken more than 30s to be scheduled.\n{'GPU': 1.0} needed."


class FakeServe(ModuleType):
    """Takes everything, but ``failed`` does not start; ``message`` is what its deployment says."""

    def __init__(self, failed: str, message: str) -> None:
        super().__init__("ray.serve")
        state, deployment = SimpleNamespace(value="DEPLOY_FAILED"), SimpleNamespace(message=message)
        self.failed = {failed: SimpleNamespace(status=state, message="It failed.", deployments={"it": deployment})}
        self.there: dict[str, Any] = {}
        self.start = self.RunTarget = lambda *_, **__: None
        self.deployment = lambda *_, **__: SimpleNamespace(bind=lambda *_: None)

    def run(self, *_: Any, name: str, **__: Any) -> None:
        if name in self.failed:
            self.there = self.failed
            raise RuntimeError(f"Deploying application {name} failed: Failed to update the deployments ['Desk'].")

    def run_many(self, *_: Any, **__: Any) -> None:
        self.there = self.failed

    def get_deployment_handle(self, *_: Any) -> Any:
        return SimpleNamespace(
            set_most=SimpleNamespace(remote=lambda _: SimpleNamespace(result=lambda timeout_s: None))
        )

    def status(self) -> Any:
        return SimpleNamespace(applications=self.there)


@pytest.mark.parametrize(
    ("failed", "message", "kind", "said"),
    [
        (DESK_APP, ABSENT, ClusterUnusable, r"No module named 'svd_ui'\. Install it .* -e '\.\[cluster\]'"),
        (DESK_APP, "", ClusterUnusable, r"It failed\. See 'ray status'"),
        (APP, ABSENT, NoReplica, r"No module named 'svd_ui'\)\. Install it"),
        (APP, FULL, NoReplica, r"'GPU': 1\.0\} needed\)\. 1 have to find a place"),
    ],
)
def test_what_does_not_start_in_the_cluster_is_said_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, failed: str, message: str, kind: type[ClusterUnusable], said: str
) -> None:
    """Serve itself says no more than that a deployment failed."""
    serve = FakeServe(failed, message)
    ray = ModuleType("ray")
    ray.serve = serve  # type: ignore[attr-defined]
    serving = ModuleType("serving")
    serving.Clips = serving.Desk = object  # type: ignore[attr-defined]
    for name, module in {"ray": ray, "ray.serve": serve, "svd_ui.engine.cluster.serving": serving}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(deploying, "connect", lambda address: ray)
    with pytest.raises(kind, match=said) as error:
        deploy("ray://there:10001", Deployment(Bounds(1, 1), 0), wait=1)
    assert "\n" not in error.value.message
