"""What scripts/bootstrap.sh decides, with stand-ins for Python, pip and nvidia-smi. Needs a POSIX shell."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from svd_ui.catalog.cuda_builds import BUILDS, Card

BOOTSTRAP = Path(__file__).resolve().parent.parent / "scripts" / "bootstrap.sh"
TOOLS = (
    "sh",
    "cat",
    "cksum",
    "tr",
    "grep",
    "sed",
    "basename",
    "mkdir",
    "rm",
    "uname",
    "chmod",
    "cp",
    "printf",
    "dirname",
)
pytestmark = pytest.mark.skipif(shutil.which("sh") is None, reason="no POSIX shell")


class Machine:
    """A folder to run in and a PATH with nothing but the basic tools; ``add`` puts a stand-in there."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin, self.log = root, root / "bin", root / "log"
        self.bin.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            if found:
                (self.bin / tool).symlink_to(found)
        (root / "scripts").mkdir()
        for script in (BOOTSTRAP, BOOTSTRAP.with_name("install")):
            shutil.copy(script, root / "scripts" / script.name)
        self.write("requirements.txt", "numpy==2.0.0\ntorch==2.13.0\nxformers==0.0.35; sys_platform == 'linux'\n")

    def write(self, name: str, text: str, *, run: bool = False) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        path.chmod(0o755 if run else 0o644)
        return path

    def add(self, name: str, body: str) -> None:
        self.write(f"bin/{name}", f"#!/bin/sh\n{body}\n", run=True)

    def venv(self, fails_on: str = "nothing-at-all") -> None:
        """A prepared .venv whose Python writes down its arguments, and fails where they hold ``fails_on``."""
        body = f'echo "$*" >>{self.log}\ncase "$*" in *assert*|*{fails_on}*) exit 1 ;; esac'
        self.write(".venv/bin/python", f"#!/bin/sh\n{body}\n", run=True)

    def sh(self, script: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-euc", f". scripts/bootstrap.sh\n{script}"],
            cwd=self.root,
            env={"PATH": str(self.bin), "HOME": os.environ.get("HOME", "/"), **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def pip_calls(self) -> list[str]:
        lines = self.log.read_text("utf-8").splitlines() if self.log.exists() else []
        return [line for line in lines if " install " in line]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_a_python_the_package_is_named(machine: Machine) -> None:
    done = machine.sh("make_venv")
    assert done.returncode == 1
    assert "python3-venv" in done.stderr or "brew" in done.stderr


def test_a_python_that_cannot_make_environments_names_the_package(machine: Machine) -> None:
    machine.add("python3", 'case "$2" in *ensurepip*) exit 1 ;; *print*) echo 3.12 ;; esac')
    done = machine.sh("make_venv")
    assert done.returncode == 1
    assert "apt install python3.12-venv" in done.stderr


def test_a_name_that_does_not_run_is_passed_over(machine: Machine) -> None:
    machine.add("python3", "exit 127")
    machine.add("python3.11", "exit 0")
    assert machine.sh("find_python; echo $PYTHON").stdout.strip() == "python3.11"


def test_the_graphics_driver_decides(machine: Machine) -> None:
    expected = "mac" if os.uname().sysname == "Darwin" else "cpu"
    assert machine.sh("torch_choice").stdout.strip() == expected
    if expected == "cpu":
        machine.add("nvidia-smi", "exit 9")  # installed, but no card answers
        assert machine.sh("torch_choice").stdout.strip() == "cpu"
        machine.add("nvidia-smi", "exit 0")  # answers, and says nothing of its cards
        assert machine.sh("torch_choice").stdout.strip() == "cuda"
    assert machine.sh("torch_choice", SVD_UI_TORCH="cuda").stdout.strip() == "cuda"


def smi(machine: Machine, cards: str, *, tells_capability: bool = True) -> None:
    """A driver that lists ``cards``, "580.65.06, 8.6" each; an old one does not know of capabilities."""
    lines = cards.splitlines() if tells_capability else [card.split(",")[0] for card in cards.splitlines()]
    unknown = "" if tells_capability else '*compute_cap*) echo "Field is not valid"; exit 2 ;;'
    says = "; ".join(f"echo '{line}'" for line in lines)
    machine.add("nvidia-smi", f'case "$*" in {unknown} *--query-gpu*) {says} ;; esac')


@pytest.mark.skipif(os.uname().sysname == "Darwin", reason="there is one wheel for macOS")
@pytest.mark.parametrize(
    ("cards", "choice", "said"),
    [
        ("580.65.06, 8.6", "cuda", ""),
        ("580.65.06, 7.5", "cuda", ""),  # Turing is the oldest that CUDA 13 has code for
        ("580.65.06, 7.0", "cu126", ""),  # V100
        ("580.65.06, 6.1", "cu126", ""),  # GTX 10xx
        ("575.51.03, 8.9", "cu126", ""),  # the card would do, its driver does not
        ("535.183.01, 8.6\n535.183.01, 6.1", "cu126", ""),
        ("590.10, 8.6\n590.10, 5.2", "cu126", ""),  # both run
        ("590.10, 12.0\n590.10, 6.1", "cuda", ""),  # one of them does not, and it is the older one
        ("590.10, 12.0", "cuda", ""),
        ("570.124.06, 12.0", "cuda", "580 or newer"),
        ("470.256.02, 8.6", "cpu", "580 or newer"),
        ("580.65.06, 3.5", "cpu", "as old as this one"),
    ],
)
def test_the_build_fits_driver_and_cards(machine: Machine, cards: str, choice: str, said: str) -> None:
    smi(machine, cards)
    done = machine.sh("torch_choice")
    assert done.stdout.strip() == choice
    assert said in done.stderr
    assert bool(said) is bool(done.stderr)
    rows = [line.split(", ") for line in cards.splitlines()]
    known = [Card("x", tuple(map(int, cc.split("."))), int(driver.split(".")[0])) for driver, cc in rows]
    best = {"cuda": BUILDS[0], "cu126": BUILDS[1], "cpu": None}[choice]
    if not said:
        assert best is not None and any(best.fits(card) for card in known)
    elif choice == "cpu":
        assert not any(build.fits(card) for build in BUILDS for card in known)


@pytest.mark.skipif(os.uname().sysname == "Darwin", reason="there is one wheel for macOS")
@pytest.mark.parametrize(("driver", "choice"), [("580.65.06", "cuda"), ("550.54.14", "cu126"), ("460.91.03", "cpu")])
def test_a_driver_that_does_not_tell_capabilities_decides_alone(machine: Machine, driver: str, choice: str) -> None:
    smi(machine, driver, tells_capability=False)
    assert machine.sh("torch_choice").stdout.strip() == choice


def test_an_older_card_gets_its_build_from_pytorch_without_xformers(machine: Machine) -> None:
    machine.venv(fails_on="--retries")  # the index that pip is configured with does not have it
    assert machine.sh("install cu126 requirements.txt").returncode == 0
    calls = machine.pip_calls()
    assert len(calls) == 3
    assert calls[1].endswith("--index-url https://download.pytorch.org/whl/cu126 torch==2.13.0+cu126")
    assert "xformers" not in (machine.root / ".venv/wanted.txt").read_text("utf-8")
    machine.venv(fails_on="cu126")
    machine.write(".venv/.installed-requirements", "another")
    failed = machine.sh("install cu126 requirements.txt")
    assert (failed.returncode, "again to resume" in failed.stderr) == (1, True)


@pytest.mark.parametrize(
    ("installed", "removed"), [("2.13.0+cpu", 1), ("2.13.0+cu126", 1), ("2.13.0", 0), ("2.13.0+cu130", 0)]
)
def test_a_build_that_was_right_before_the_driver_was_does_not_stay(
    machine: Machine, installed: str, removed: int
) -> None:
    body = f'echo "$*" >>{machine.log}\ncase "$*" in *print*) echo {installed} ;; esac'
    machine.write(".venv/bin/python", f"#!/bin/sh\n{body}\n", run=True)
    assert machine.sh("install cuda requirements.txt").returncode == 0
    assert machine.log.read_text("utf-8").count("uninstall --quiet --yes torch") == removed


def test_a_cpu_gets_the_cpu_build_and_no_xformers(machine: Machine) -> None:
    machine.venv()
    assert machine.sh("install cpu requirements.txt").returncode == 0
    first, second = machine.pip_calls()
    assert first.endswith("torch==2.13.0+cpu")
    assert "index-url" not in first
    assert second.endswith("-r .venv/wanted.txt")
    assert "xformers" not in (machine.root / ".venv/wanted.txt").read_text("utf-8")


def test_the_cpu_build_is_looked_for_at_pytorch_next_and_pypi_last(machine: Machine) -> None:
    machine.venv(fails_on="+cpu")
    done = machine.sh("install cpu requirements.txt")
    assert done.returncode == 0
    calls = machine.pip_calls()
    assert len(calls) == 3
    assert "--retries 1 --timeout 10 --index-url https://download.pytorch.org/whl/cpu" in calls[1]
    assert "several GB" in done.stderr


def test_a_gpu_gets_everything_from_pypi(machine: Machine) -> None:
    machine.venv()
    assert machine.sh("install cuda requirements.txt").returncode == 0
    (call,) = machine.pip_calls()
    assert "+cpu" not in call
    assert "xformers" in (machine.root / ".venv/wanted.txt").read_text("utf-8")


def test_a_second_start_does_not_call_pip_until_something_changes(machine: Machine) -> None:
    machine.venv()
    machine.sh("install cuda requirements.txt")
    machine.sh("install cuda requirements.txt")
    assert len(machine.pip_calls()) == 1
    machine.write("requirements.txt", "numpy==2.1.0\n")
    machine.sh("install cuda requirements.txt")
    assert len(machine.pip_calls()) == 2
    machine.sh("install mac requirements.txt")
    assert len(machine.pip_calls()) == 3


def test_a_failed_installation_is_tried_again(machine: Machine) -> None:
    machine.venv(fails_on="wanted.txt")
    done = machine.sh("install cuda requirements.txt")
    assert done.returncode == 1
    assert "again to resume" in done.stderr
    machine.venv()
    assert machine.sh("install cuda requirements.txt").returncode == 0
    assert len(machine.pip_calls()) == 2


def test_installing_starts_nothing_and_brings_the_tools_only_where_they_are_asked_for(machine: Machine) -> None:
    machine.venv()
    machine.write("requirements-dev.txt", "pytest==9.0.0\n")
    assert machine.sh("sh scripts/install", SVD_UI_TORCH="cuda").returncode == 0
    assert len(machine.pip_calls()) == 1
    assert machine.sh("sh scripts/install dev", SVD_UI_TORCH="cuda").returncode == 0
    assert len(machine.pip_calls()) == 2
    assert "pytest" in (machine.root / ".venv/wanted.txt").read_text("utf-8")
    assert "svd_ui" not in machine.log.read_text("utf-8")


def test_installing_something_unknown_is_refused(machine: Machine) -> None:
    done = machine.sh("sh scripts/install all")
    assert done.returncode == 1
    assert "unknown argument all" in done.stderr
