"""``doctor --fix`` does what is safe, says what it did and what it left, and finds nothing to do the second time."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from svd_ui.catalog.cuda_builds import Card, TorchBuild, mismatch
from svd_ui.doctor import examine
from svd_ui.doctor.finding import Finding, Patient
from svd_ui.doctor.folders import leftovers
from svd_ui.doctor.repair import Treatment
from svd_ui.engine import Device
from svd_ui.hub import Hub, layout
from svd_ui.settings import Settings

DAY = 86_400


@pytest.fixture
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Patient:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(Settings.model_config, "env_file", ".env")
    settings = Settings(data_dir=tmp_path / "data")
    return Patient(settings, {}, Hub(settings, cache=tmp_path / "hub"), Device(kind="cpu", name="A processor"), "")


def treat(patient: Patient, yes: bool = True) -> Treatment:
    return Treatment(patient, lambda question: yes).of(examine(patient))


def old(path: Path, days: float, text: str = "x" * 1000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    os.utime(path, (time.time() - days * DAY,) * 2)
    return path


def test_folders_are_made_and_nothing_is_left_to_do(patient: Patient) -> None:
    first = treat(patient)
    assert patient.settings.models_dir.is_dir()
    assert patient.hub.cache.is_dir()
    assert len(first.done) == 3
    assert (treat(patient).done, treat(patient).left) == ([], [])


def test_what_nothing_needs_any_more_is_removed_and_the_rest_stays(patient: Patient) -> None:
    data, repo = patient.settings.data_dir, layout.repo_folder(patient.hub.cache, "stabilityai/sd-turbo")
    gone = [
        old(data / "jobs" / "a" / ".clip.mp4.0123456789ab.tmp", 1),
        old(data / "training" / "pans" / ".step-000100.part", 1),
        old(data / "uploads" / "digest" / "photo.jpg", 3),
        old(repo / "blobs" / f"aaaa{layout.PART}", 31),
        old(repo / "blobs" / f"bbbb{layout.PART}", 1),
        old(repo / "blobs" / f"cccc{layout.PART}", 1, ""),
    ]
    kept = [
        old(data / "jobs" / "a" / "clip.mp4", 400),
        old(data / "jobs" / "a" / ".clip.mp4.ba9876543210.tmp", 0),  # somebody writes it now
        old(data / "uploads" / "digest" / "new.jpg", 1),
        old(data / "models" / "mine" / "unet" / "notes.tmp", 400),
        old(repo / "blobs" / "bbbb", 1),
        old(repo / "blobs" / f"dddd{layout.PART}", 20),  # a download to go on with
    ]
    dangling = repo / "snapshots" / "c" / "unet" / "weights.safetensors"
    dangling.parent.mkdir(parents=True)
    dangling.symlink_to("../../../blobs/eeee")
    assert {path for path, _ in leftovers(patient)} == {*gone, dangling}
    done = treat(patient).done
    assert "7 of 7 files" in done[-1]
    assert not any(path.exists() or path.is_symlink() for path in (*gone, dangling))
    assert all(path.exists() for path in kept)
    assert treat(patient).done == []


def test_a_misspelt_setting_is_renamed_where_somebody_agrees(patient: Patient) -> None:
    text = "# mine\nexport SVD_UI_PROFIL=8gb\nSVD_UI_PORT=7999\nSVD_UI_PROFILX_OLD=1\n"
    Path(".env").write_text(text, "utf-8")
    refused = treat(patient, yes=False)
    assert Path(".env").read_text("utf-8") == text
    assert any("was not renamed" in line for line in refused.left)
    treat(patient)
    assert Path(".env").read_text("utf-8") == text.replace("SVD_UI_PROFIL=", "SVD_UI_PROFILE=")
    assert Settings().profile == "8gb"


def test_a_setting_that_is_there_already_is_not_given_twice(patient: Patient) -> None:
    text = "SVD_UI_PROFIL=8gb\nSVD_UI_PROFILE=4gb\n"
    Path(".env").write_text(text, "utf-8")
    assert any("SVD_UI_PROFIL " in line for line in treat(patient).left)
    assert Path(".env").read_text("utf-8") == text


@pytest.mark.parametrize(("yes", "fails"), [(False, False), (True, False), (True, True)])
def test_torch_is_installed_anew_only_when_somebody_agrees(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, yes: bool, fails: bool
) -> None:
    note = mismatch(TorchBuild("2.13.0", "13.0", ("sm_75",)), Card("GTX 1080", (6, 1), 580))
    assert note is not None
    (finding,) = [
        finding
        for finding in examine(
            Patient(patient.settings, {}, patient.hub, Device(kind="cpu", name="A processor", build_mismatch=note), "")
        )
        if finding.repair == "torch"
    ]
    pip = tmp_path / "python"
    pip.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\nexit {int(fails)}\n', "utf-8")
    pip.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(pip))
    asked: list[str] = []
    treatment = Treatment(patient, lambda question: bool(asked.append(question)) or yes).of([finding])
    assert "-m pip install torch==2.13.0+cu126 --index-url https://download.pytorch.org/whl/cu126" in asked[0]
    calls = (tmp_path / "calls").read_text("utf-8") if (tmp_path / "calls").exists() else ""
    assert calls.split() == (asked[0].split("python ", 1)[1].split() if yes else [])
    assert len(treatment.left) == (not yes or fails)


def test_what_only_a_person_can_mend_is_left_and_named(patient: Patient) -> None:
    finding = Finding("python_32_bits", {"version": "3.12.1"})
    assert Treatment(patient, lambda _: True).of([finding]).left == ["Python 3.12.1 is the 32-bit version"]
