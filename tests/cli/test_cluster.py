"""cluster deploy, status and delete on the command line, without a cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest

from svd_ui.engine.cluster import deploying, link
from svd_ui.engine.cluster.deploying import Bounds, Deployment
from svd_ui.errors import ClusterUnusable
from tests.cli.conftest import Run

STATE: dict[str, Any] = {
    "state": "RUNNING",
    "message": "",
    "release": "1.2.3",
    "most": 8,
    "running": 1,
    "waiting": 2,
    "replicas": {
        "ab": {"node": "10.0.0.1", "device": {"name": "A card", "loaded_checkpoint": "svd-xt"}, "session": "x", "trouble": ""},
        "cd": {"node": "10.0.0.2", "device": None, "session": "", "trouble": "no such device"},
    },
}  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the cluster was asked for."""
    found: list[Any] = []

    def deploy(address: str, what: Deployment, wait: float) -> dict[str, Any]:
        found.append((address, what, wait))
        return STATE

    monkeypatch.setattr(link, "connect", lambda address: object())
    monkeypatch.setattr(deploying, "gpus_of", lambda ray: 2)
    monkeypatch.setattr(deploying, "deploy", deploy)
    monkeypatch.setattr(deploying, "status", lambda address: STATE)
    monkeypatch.setattr(deploying, "delete", lambda address: 3)
    return found


def test_replicas_get_a_card_each_and_as_many_as_there_are(run: Run, asked: list[Any]) -> None:
    result = run("cluster", "deploy", "--address", "ray://there:10001")
    assert result.exit_code == 0, result.stderr
    ((address, what, _),) = asked
    assert (address, what.bounds, what.gpus) == ("ray://there:10001", Bounds(1, 2), 1.0)
    assert "SVD_UI_CLUSTER=ray://there:10001" in result.stdout


def test_how_many_and_what_each_gets_can_be_said(run: Run, asked: list[Any]) -> None:
    options = ("--replicas", "1..8", "--gpus", "0.5", "--cpus", "4", "--data-dir", "/srv/svd", "--wait", "30")
    assert run("cluster", "deploy", "--address", "auto", *options).exit_code == 0
    ((_, what, wait),) = asked
    assert (what.bounds, what.gpus, what.cpus, what.data_dir, wait) == (Bounds(1, 8), 0.5, 4, "/srv/svd", 30)


def test_a_cluster_has_to_be_named(run: Run, asked: list[Any]) -> None:
    result = run("cluster", "status")
    assert result.exit_code == 2
    assert "--address" in result.stderr


def test_the_address_of_the_settings_is_used(run: Run, asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVD_UI_CLUSTER", "ray://there:10001")
    assert run("cluster", "deploy", "--replicas", "2").exit_code == 0
    assert asked[0][0] == "ray://there:10001"


def test_a_wrong_number_of_replicas_is_refused_before_anything_starts(run: Run, asked: list[Any]) -> None:
    result = run("cluster", "deploy", "--address", "auto", "--replicas", "8..1")
    assert result.exit_code == 2
    assert "1..8" in result.stderr
    assert not asked


def test_the_status_is_for_people_and_for_programs(run: Run, asked: list[Any]) -> None:
    shown = run("cluster", "status", "--address", "auto").stdout
    assert "1 clips are being made, 2 wait" in shown
    assert "ab  10.0.0.1  A card  svd-xt  makes a clip" in shown
    assert "cd  10.0.0.2  no such device  nothing loaded  idle" in shown
    assert json.loads(run("cluster", "status", "--address", "auto", "--json").stdout) == STATE


def test_deleting_says_what_was_stopped(run: Run, asked: list[Any]) -> None:
    assert "3 clips" in run("cluster", "delete", "--address", "auto").stdout


def test_what_is_wrong_is_one_sentence(run: Run, asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def status(address: str) -> dict[str, Any]:
        raise ClusterUnusable(address=address, reason="nobody answers there", remedy="Start it.")

    monkeypatch.setattr(deploying, "status", status)
    result = run("cluster", "status", "--address", "auto")
    assert result.exit_code == 1
    assert result.stderr.strip() == "svd-ui: The cluster at auto cannot be used: nobody answers there. Start it."
