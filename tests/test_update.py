"""scripts/update on real git repositories, with a stand-in for the Python that would install. Needs a POSIX shell and git."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
pytestmark = pytest.mark.skipif(not (shutil.which("sh") and shutil.which("git")), reason="no POSIX shell or no git")

RELEASED = "# Changelog\n\n## [0.1.0] - 2026-01-01\n\n- The first.\n"
NEWER = "# Changelog\n\n## [0.2.0] - 2026-02-01\n\n- The second.\n\n## [0.1.0] - 2026-01-01\n\n- The first.\n"


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def update(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "scripts/update"], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, "utf-8")


def release(origin: Path, version: str, changelog: str, pin: str) -> None:
    write(origin, "svd_ui/__init__.py", f'__version__ = "{version}"\n')
    write(origin, "CHANGELOG.md", changelog)
    write(origin, "requirements.txt", pin)
    git(origin, "add", "-A")
    git(origin, "commit", "-qm", version)


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    folder = tmp_path / "origin"
    (folder / "scripts").mkdir(parents=True)
    for name in ("bootstrap.sh", "install", "update"):
        shutil.copy(SCRIPTS / name, folder / "scripts" / name)
    write(folder, ".gitignore", ".venv/\n")
    write(folder, "requirements-dev.txt", "pytest==9.0.0\n")
    git(folder, "init", "-q", "-b", "main")
    release(folder, "0.1.0", RELEASED, "numpy==2.0.0\n")
    return folder


@pytest.fixture
def checkout(origin: Path, tmp_path: Path) -> Path:
    """A clone with a .venv whose Python writes down its arguments."""
    folder = tmp_path / "checkout"
    git(tmp_path, "clone", "-q", str(origin), str(folder))
    write(folder, ".venv/bin/python", f'#!/bin/sh\necho "$*" >>{tmp_path / "log"}\n')
    (folder / ".venv/bin/python").chmod(0o755)
    return folder


def installations(checkout: Path) -> list[str]:
    log = checkout.parent / "log"
    return [line for line in log.read_text("utf-8").splitlines() if " install " in line] if log.exists() else []


def test_an_update_tells_both_versions_what_is_new_and_installs_it(origin: Path, checkout: Path) -> None:
    release(origin, "0.2.0", NEWER, "numpy==2.1.0\n")
    done = update(checkout)
    assert done.returncode == 0, done.stderr
    assert "was 0.1.0" in done.stderr
    assert "is 0.2.0" in done.stderr
    assert "The second." in done.stdout
    assert "The first." not in done.stdout
    assert "numpy==2.1.0" in (checkout / ".venv/wanted.txt").read_text("utf-8")
    assert not (checkout / ".venv/.installed-requirements-dev").exists()


def test_between_releases_the_unreleased_changes_are_what_is_new(origin: Path, checkout: Path) -> None:
    release(
        origin, "0.1.0", RELEASED.replace("## [0.1.0]", "## [Unreleased]\n\n- Soon.\n\n## [0.1.0]"), "numpy==2.0.0\n"
    )
    assert "Soon." in update(checkout).stdout


def test_nothing_new_is_said_and_installed_once(checkout: Path) -> None:
    assert "0.1.0 is the newest" in update(checkout).stderr
    before = len(installations(checkout))
    assert update(checkout).returncode == 0
    assert len(installations(checkout)) == before


def test_the_tools_of_a_contributor_are_brought_along(origin: Path, checkout: Path) -> None:
    write(checkout, ".venv/.installed-requirements-dev", "older\n")
    assert update(checkout).returncode == 0
    assert (checkout / ".venv/.installed-requirements-dev").read_text("utf-8") != "older\n"


def test_local_changes_are_not_touched(origin: Path, checkout: Path) -> None:
    release(origin, "0.2.0", NEWER, "numpy==2.1.0\n")
    write(checkout, "requirements.txt", "numpy==1.0.0\n")
    done = update(checkout)
    assert done.returncode == 1
    assert "git stash" in done.stderr
    assert (checkout / "requirements.txt").read_text("utf-8") == "numpy==1.0.0\n"
    assert not installations(checkout)


def test_a_file_that_git_does_not_know_is_no_hindrance(checkout: Path) -> None:
    write(checkout, "notes.txt", "mine\n")
    assert update(checkout).returncode == 0


def test_a_checkout_without_a_remote_says_so(origin: Path) -> None:
    done = update(origin)
    assert done.returncode == 1
    assert "follows no remote" in done.stderr


def test_a_folder_without_git_says_so(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    done = update(checkout)
    assert done.returncode == 1
    assert "not a git checkout" in done.stderr


def test_a_branch_that_went_its_own_way_stays_as_it_is(origin: Path, checkout: Path) -> None:
    release(origin, "0.2.0", NEWER, "numpy==2.1.0\n")
    release(checkout, "0.1.1", RELEASED, "numpy==2.0.1\n")
    done = update(checkout)
    assert done.returncode == 1
    assert "Nothing was changed" in done.stderr
    assert "0.1.1" in (checkout / "svd_ui/__init__.py").read_text("utf-8")
