"""What deploy/ holds is read as those read it who use it; Docker and systemd need not run."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from svd_ui.engine import Device
from svd_ui.jobs.service import JobService
from svd_ui.settings import REPOSITORY, Settings
from svd_ui.web.context import Context
from tests.fakes import FakeEngine

DEPLOY = REPOSITORY / "deploy"
UNITS = ("svd-ui.service", "svd-ui-backup.service", "svd-ui-backup.timer")
PANELS: list[dict[str, Any]] = json.loads((DEPLOY / "grafana" / "svd-ui.json").read_text("utf-8"))["panels"]
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
has_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The name of every sample that /metrics may have."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("exported"))
    device = Device(kind="cuda", name="a card", id="cuda:0", total_bytes=8, free_bytes=4)
    with JobService(settings, FakeEngine(device=device)) as jobs:
        families = list(Context(jobs, settings).metrics.registry.collect())
    endings = {"gauge": [""], "counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return {family.name + ending for family in families for ending in endings[family.type]}


def test_every_number_of_the_dashboard_and_the_guide_is_exported(exported: set[str]) -> None:
    dashboard = (DEPLOY / "grafana" / "svd-ui.json").read_text("utf-8")
    guide = (REPOSITORY / "docs" / "deploy.md").read_text("utf-8").partition("## Numbers")[2].partition("## The log")[0]
    named = set(re.findall(r"\bsvd_ui_\w+", dashboard + guide))
    assert len(named) > 20
    assert named <= exported


def test_what_is_exported_is_on_the_dashboard(exported: set[str]) -> None:
    shown = set(re.findall(r"\bsvd_ui_\w+", json.dumps(PANELS)))
    elsewhere = {
        "svd_ui_device_known", "svd_ui_device_free_bytes", "svd_ui_device_total_bytes", "svd_ui_page_uptime_seconds",
    }  # fmt: skip
    bare = {name for name in exported if not name.endswith(("_sum", "_count"))}
    assert bare - shown == elsewhere


def test_panels_have_a_title_and_do_not_lie_on_each_other() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    assert all(panel["title"] for panel in PANELS)
    places = [panel["gridPos"] for panel in PANELS]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with a Python that is here."""
    for name in UNITS:
        text = (DEPLOY / name).read_text("utf-8").replace("/opt/svd-ui/.venv/bin/python", sys.executable)
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


@has_systemd
def test_systemd_finds_no_fault_with_the_units(units: Path) -> None:
    command = ["systemd-analyze", "verify", *(str(units / name) for name in UNITS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "svd-ui" in line]) == (0, [])


@has_systemd
@pytest.mark.parametrize("name", UNITS[:2])
def test_a_service_is_locked_in(units: Path, name: str) -> None:
    """systemd's own judgement, 0 (safe) to 10; it may not know ``--offline``."""
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(units / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r"exposure level for [\w.-]+: ([\d.]+)", done.stdout)
    if found is None:
        pytest.skip("this systemd-analyze judges running services alone")
    assert float(found[1]) < 4


def test_a_service_gains_no_rights_and_writes_into_its_own_folders() -> None:
    for name in UNITS[:2]:
        lines = (DEPLOY / name).read_text("utf-8").splitlines()
        assert {"NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=yes", "CapabilityBoundingSet="} <= set(
            lines
        )
        assert "User=svd-ui" in lines
        assert "StateDirectory=svd-ui" in lines


def test_a_service_sees_the_gpu() -> None:
    """Each of these allows a few devices alone, ``ProtectClock`` with older releases of systemd."""
    text = (DEPLOY / "svd-ui.service").read_text("utf-8")
    assert not re.findall(r"^(?:PrivateDevices|ProtectClock|DeviceAllow|DevicePolicy)=", text, re.MULTILINE)


def test_commands_of_the_guide_run_as_the_service_does(tmp_path: Path) -> None:
    guide = (REPOSITORY / "docs" / "deploy.md").read_text("utf-8")
    (function,) = re.findall(r"^svd\(\) \{.*?^\}$", guide, re.DOTALL | re.MULTILINE)
    (tmp_path / "sudo").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "sudo").chmod(0o755)
    command = ["sh", "-c", f'{function}\nsvd backup "/a b.tar"']
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PATH": f"{tmp_path}:/bin:/usr/bin"}
    )
    called = done.stdout.splitlines()
    unit = (DEPLOY / "svd-ui.service").read_text("utf-8")
    (program,) = re.findall(r"^ExecStart=(.*) serve --no-open$", unit, re.MULTILINE)
    assert called[0] == "systemd-run"
    assert called[-5:] == [*program.split(), "backup", "/a b.tar"]
    told = set(pairwise(called))
    properties = re.findall(r"^(?:User|UMask|WorkingDirectory|EnvironmentFile)=.*", unit, re.MULTILINE)
    assert {("-p", each) for each in properties} <= told
    assert {("-E", each) for each in re.findall(r"\b(?:HOME|HF_HOME|SVD_UI_DATA_DIR)=\S+", unit)} <= told
    outside = guide.replace(function, "")
    assert not re.findall(r"^python .*|.*&& python .*", outside, re.MULTILINE), "it would find other data"


def test_compose_starts_the_page_a_postgresql_and_a_ray_head() -> None:
    services = COMPOSE["services"]
    assert services.keys() == {"page", "ray", "database"}
    assert services["database"]["image"].startswith("postgres:")
    for name, service in services.items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", "all of it is back after the machine was started again"
    waits = {name: set(service.get("depends_on", {})) for name, service in services.items()}
    assert waits == {"page": {"database", "ray"}, "ray": set(), "database": set()}
    for service in services.values():
        assert "no-new-privileges:true" in service["security_opt"]
        assert all(volume.split(":")[0] in COMPOSE["volumes"] for volume in service.get("volumes", ()))


FAKES = {
    "ray": 'echo "ray $*" >> {log}; [ "$1" = start ] || {{ count=$(wc -l < {log}); [ "$count" -lt 5 ]; }}',
    "python": 'echo "python $*" >> {log}; exit {deploys}',
    "sleep": 'echo "sleep $*" >> {log}',
}


@pytest.mark.parametrize("deploys", [0, 1])
def test_a_ray_head_puts_the_app_into_itself_at_each_start_and_ends_when_it_is_gone(
    tmp_path: Path, deploys: int
) -> None:
    """Run with programs that write down how they were called."""
    ray, log = COMPOSE["services"]["ray"], tmp_path / "log"
    for name, text in FAKES.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text.format(log=log, deploys=deploys)}\n")
        (tmp_path / name).chmod(0o755)
    (program,) = ray["command"]
    assert "$" not in program, "compose would put something in its place"
    program = program.replace("/tmp/deployed", f"{tmp_path}/deployed").replace("/app/.venv/bin", str(tmp_path))
    (tmp_path / "deployed").touch()
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run([*ray["entrypoint"], program], env=environment, check=False, timeout=20)
    assert done.returncode == 1, "Docker starts it again"
    start, deploy, *rest = log.read_text().splitlines()
    assert start.startswith("ray start --head ")
    assert deploy == "python -m svd_ui cluster deploy --address auto --replicas auto"
    alive = "ray health-check --address localhost:6379"
    assert rest == ([] if deploys else [alive, "sleep 20", alive, "sleep 10", alive])
    assert (tmp_path / "deployed").exists() is not bool(deploys), "it is healthy only with the app in it"


def test_the_web_server_before_the_page_tells_who_its_visitors_are_and_nobody_else() -> None:
    (network,) = COMPOSE["networks"]["default"]["ipam"]["config"]
    trusted = COMPOSE["services"]["page"]["environment"]["FORWARDED_ALLOW_IPS"]
    assert trusted == network["gateway"]
    seen: list[str] = []

    async def page(scope: Any, *_: Any) -> None:
        seen.append(scope["client"][0])

    forged = [(b"x-forwarded-for", b"192.0.2.66, 198.51.100.7")]  # nginx adds the last
    for peer in (trusted, "203.0.113.9"):
        scope: Any = {"type": "http", "client": (peer, 1), "headers": forged, "scheme": "http"}
        asyncio.run(ProxyHeadersMiddleware(page, trusted)(scope, None, None))  # type: ignore[arg-type]
    assert seen == ["198.51.100.7", "203.0.113.9"]


def test_nothing_but_the_page_can_be_reached_and_that_from_this_machine_alone() -> None:
    ports = {name: service.get("ports", []) for name, service in COMPOSE["services"].items()}
    assert ports.pop("page") == ["127.0.0.1:7860:7860"]
    assert not any(ports.values())


def test_the_image_has_what_the_database_and_the_cluster_need() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for name in ("page", "ray"):
        packages = COMPOSE["services"][name]["build"]["args"]["PACKAGES"].split()
        assert sorted(packages) == sorted([*extras["postgres"], *extras["cluster"]])


def test_the_page_s_health_check_is_a_program_that_asks_no_proxy() -> None:
    *_, option, program = COMPOSE["services"]["page"]["healthcheck"]["test"]
    assert option == "-c"
    compile(program, "healthcheck", "exec")
    assert "ProxyHandler({})" in program
    assert "/ready" in program


def test_secrets_stand_in_files_of_their_own_that_nobody_commits() -> None:
    assert not re.search(r"(?i)password|secret|token", json.dumps(COMPOSE))
    assert "deploy/*.env" in (REPOSITORY / ".gitignore").read_text("utf-8").splitlines()
    for service in COMPOSE["services"].values():
        for file in service["env_file"]:
            assert (DEPLOY / f"{file}.example").is_file()


def test_what_the_examples_set_can_be_set() -> None:
    known = {f"SVD_UI_{name.upper()}" for name in Settings.model_fields}
    files = [
        *DEPLOY.glob("*.example"),
        *DEPLOY.glob("*.service"),
        DEPLOY / "compose.yaml",
        REPOSITORY / "docs/deploy.md",
    ]
    for path in files:
        assert set(re.findall(r"\bSVD_UI_[A-Z_]+\b", path.read_text("utf-8"))) <= known, path.name


def test_what_the_guide_names_is_here() -> None:
    text = (REPOSITORY / "docs" / "deploy.md").read_text("utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (REPOSITORY / "docs" / target).exists(), target
    for name in re.findall(r"`?deploy/([\w./-]+\.\w+)", text):
        assert (DEPLOY / name).exists(), name
