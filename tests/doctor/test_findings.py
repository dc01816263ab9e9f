"""What doctor finds: an installation with one thing wrong is told so, with the remedy; a healthy one is left in peace."""

from __future__ import annotations

import importlib.metadata
import json
import socket
import sqlite3
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from svd_ui.catalog.cuda_builds import Card, TorchBuild, mismatch
from svd_ui.doctor import CHECKS, devices, examine, facts, software
from svd_ui.doctor.finding import Finding, Patient
from svd_ui.engine import Device
from svd_ui.hub import Hub
from svd_ui.jobs.rotation import DeviceState
from svd_ui.jobs.sqlite import SqliteDatabase
from svd_ui.notes import WORDS
from svd_ui.settings import Settings, usable
from tests.fakes import fake_checkpoint

Ask = Callable[..., dict[str, Finding]]
DEVICE = Device(kind="cpu", name="A processor")


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Examine an installation in ``tmp_path`` as it is now: code => finding, in order."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SVD_UI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setitem(Settings.model_config, "env_file", ".env")
    for name in ("HF_TOKEN", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("SVD_UI_PORT", str(probe.getsockname()[1]))

    def ask(device: Device | None = DEVICE, trouble: str = "") -> dict[str, Finding]:
        settings, faults = usable()
        hub = Hub(settings, cache=tmp_path / "hub")
        return {finding.code: finding for finding in examine(Patient(settings, faults, hub, device, trouble))}

    return ask


def test_a_healthy_installation_is_left_in_peace(ask: Ask) -> None:
    found = ask()
    assert [code for code, finding in found.items() if finding.wrong] == []
    assert found.keys() <= {"packages_other"}


def test_every_finding_says_what_why_and_what_to_do() -> None:
    source = "".join(path.read_text("utf-8") for path in Path(software.__file__).parent.glob("*.py"))
    for code, words in WORDS["findings"].items():
        assert words.keys() == {"what", "why", "do"}
        assert all(words.values())
        assert f'"{code}"' in source or code in WORDS["notes"], f"{code} is never found"


def test_settings_that_are_not_followed_are_named(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("SVD_UI_PROFIL=8gb\nSVD_UI_IDLE_SECONDS=soon\nSVD_UI_TORCH=cpu\n", "utf-8")
    monkeypatch.setenv("SVD_UI_FLAVOUR", "x")
    monkeypatch.setenv("GRADIO_SERVER_NAME", "::")
    settings, faults = usable()
    assert settings.idle_seconds == 600
    assert list(faults) == ["SVD_UI_IDLE_SECONDS"]
    found = ask()
    assert "SVD_UI_IDLE_SECONDS" in found["setting_wrong"].to_dict()["what"]
    assert found["variable_misspelt"].to_dict()["what"] == "SVD_UI_PROFIL (.env) is not a setting; SVD_UI_PROFILE is"
    assert "SVD_UI_FLAVOUR" in found["variable_unknown"].to_dict()["what"]
    assert found["variable_of_others"].params["name"] == "GRADIO_SERVER_NAME"
    assert list(found)[:3] == ["setting_wrong", "variable_misspelt", "variable_unknown"]


@pytest.mark.parametrize("text", [b"\xef\xbb\xbfSVD_UI_PROFILE=4gb\r\n", b"export SVD_UI_PROFILE=4gb"])
def test_an_env_file_of_windows_is_read(ask: Ask, text: bytes) -> None:
    Path(".env").write_bytes(text)
    assert usable()[0].profile == "4gb"
    assert "variable_unknown" not in ask()


def test_an_env_file_in_another_encoding_is_named(ask: Ask) -> None:
    Path(".env").write_bytes("SVD_UI_PROFILE=4gb".encode("utf-16"))
    assert "UTF-8" in ask()["setting_wrong"].to_dict()["what"]


@pytest.mark.parametrize(
    ("build", "card", "said"),
    [
        (TorchBuild("2.13.0+cpu", None), Card("RTX 4090", (8, 9), 580), "torch==2.13.0+cu130"),
        (TorchBuild("2.13.0", "13.0", ("sm_75", "sm_120")), Card("GTX 1080", (6, 1), 580), "torch==2.13.0+cu126"),
        (TorchBuild("2.13.0", "13.0", ("sm_75", "sm_120")), Card("RTX 3060", (8, 6), 535), "driver to 580 or newer"),
        (TorchBuild("2.13.0", "13.0", ("sm_75",)), Card("GTX 680", (3, 0), 470), "on the CPU"),
    ],
)
def test_a_card_that_torch_does_not_fit_comes_with_the_command(
    ask: Ask, build: TorchBuild, card: Card, said: str
) -> None:
    note = mismatch(build, card)
    assert note is not None
    found = ask(DEVICE.model_copy(update={"build_mismatch": note}))[note.code].to_dict()
    assert card.name in found["what"]
    assert said in found["do"]
    assert found["fixable"] is ("+cu" in found["do"])


def test_a_worker_that_does_not_start_is_told_with_its_reason(ask: Ask) -> None:
    found = ask(device=None, trouble="libcudart.so.13: cannot open. See https://ann:s3cret@example.org")
    said = json.dumps(found["worker_silent"].to_dict())
    assert "libcudart.so.13" in said
    assert "s3cret" not in said


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder here that nobody may write to")
def test_a_folder_that_cannot_be_written_is_named(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVD_UI_DATA_DIR", "/proc/svd-ui")
    found = ask()["folder_unwritable"].to_dict()
    assert found["what"].startswith("/proc cannot be written (")
    assert "SVD_UI_DATA_DIR" in found["do"]


def test_a_file_in_the_place_of_the_data_folder_is_named(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    assert f"{tmp_path / 'data'} is a file" in ask()["folder_is_file"].to_dict()["what"]


def test_a_file_in_the_place_of_a_folder_inside_is_named_too(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "jobs").write_text("not a folder")
    assert str(tmp_path / "data" / "jobs") in ask()["folder_is_file"].to_dict()["what"]


def test_a_full_disk_is_named_with_the_setting_that_leads_elsewhere(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(100, 100, 12_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    assert ask()["disk_full"].to_dict()["what"].startswith("Only 12 MB are free")


def test_a_damaged_history_is_named_and_a_sound_one_is_not(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "data" / "svd_ui.sqlite3"
    SqliteDatabase(path).close()
    assert "history_damaged" not in ask()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 999")
    database.close()
    assert ask()["history_newer"].wrong
    path.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 20)
    assert str(path) in ask()["history_damaged"].to_dict()["what"]


def test_codecs_and_letters_that_are_not_there_are_named(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("av.codecs_available", {"h264"})
    monkeypatch.setattr("PIL.features.check", lambda name: name != "freetype2")
    found = ask()
    assert "libx264" in found["codecs_missing"].to_dict()["what"]
    assert not found["pillow_lacks"].wrong
    monkeypatch.setitem(sys.modules, "av", None)
    assert ask()["codecs_broken"].wrong


def test_missing_packages_come_before_everything_else(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version

    def without_diffusers(name: str) -> str:
        if name == "diffusers":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr("importlib.metadata.version", without_diffusers)
    monkeypatch.setenv("SVD_UI_MAX_QUEUE", "none")
    found = ask()
    assert next(iter(found)) == "packages_missing"
    assert "diffusers" in found["packages_missing"].to_dict()["what"]


def test_a_port_in_use_is_worth_knowing_and_a_foreign_address_is_wrong(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("SVD_UI_PORT", str(taken.getsockname()[1]))
        assert not ask()["port_taken"].wrong
    monkeypatch.setenv("SVD_UI_HOST", "203.0.113.9")
    assert "not an address of this machine" in ask()["address_unusable"].to_dict()["what"]
    monkeypatch.setenv("SVD_UI_SSL_CERTFILE", "nowhere.pem")
    assert "nowhere.pem" in ask()["https_unusable"].to_dict()["what"]


def test_a_proxy_and_a_mirror_that_do_not_answer_are_named_without_passwords(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://bob:hunter2@127.0.0.1:9/hf")
    found = ask()["mirror_silent"].to_dict()
    assert found["what"] == "The mirror http://(secret)@127.0.0.1:9/hf does not answer"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://huggingface.co")
    monkeypatch.setenv("HTTPS_PROXY", "http://ann:s3cret@127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", '"hf_abcdefghijk"')
    found = ask()
    assert "http://(secret)@127.0.0.1:9" in found["proxy_silent"].to_dict()["what"]
    assert "token_odd" in found
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("HTTPS_PROXY", "socks5://ann:s3cret@127.0.0.1:9")
    said = ask()["hub_cut_off"].to_dict()["why"]
    assert "pip install socksio" in said
    assert "s3cret" not in said


def test_what_the_settings_ask_for_and_is_not_there_is_named(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    monkeypatch.setenv("SVD_UI_CHECKPOINT", "svd-xt-1-1")
    monkeypatch.setenv("SVD_UI_CHECKPOINT_DIRS", str(tmp_path / "nas"))
    monkeypatch.setenv("SVD_UI_TEXT_TO_IMAGE", str(tmp_path / "turbo"))
    found = ask()
    assert "models download svd-xt-1-1" in found["token_missing"].to_dict()["do"]
    assert found["folder_absent"].params["path"] == str(tmp_path / "nas")
    assert "turbo" in found["still_maker_absent"].to_dict()["what"]
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_abc")
    assert not ask()["weights_absent"].wrong
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in ask()["offline"].to_dict()["what"]
    monkeypatch.setenv("SVD_UI_CHECKPOINT", "svd-tx")
    assert ask()["checkpoint_unknown"].params["known"] == "svd-xt"


def test_a_checkpoint_that_is_asked_for_and_damaged_comes_with_the_reason(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = fake_checkpoint(tmp_path / "models" / "mine") / "vae" / "diffusion_pytorch_model.safetensors"
    monkeypatch.setenv("SVD_UI_CHECKPOINT_DIRS", str(tmp_path / "models"))
    monkeypatch.setenv("SVD_UI_CHECKPOINT", "local:mine")
    assert "checkpoint_damaged" not in ask()
    weights.unlink()
    assert "mine/vae holds no weights" in ask()["checkpoint_damaged"].to_dict()["what"]


def test_the_report_holds_no_password_of_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "s3cret-word"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"https://ann:{secret}@mirror.example/hf")
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://ann:{secret}@127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", f"ghp_{secret.replace('-', '')}")
    monkeypatch.setenv("SVD_UI_ROOT_PATH", f"https://ann:{secret}@example.org/svd")
    monkeypatch.setenv("SVD_UI_SSL_KEYFILE_PASSWORD", secret)
    monkeypatch.setenv("SVD_UI_DATA_DIR", str(tmp_path))
    settings, faults = usable()
    faults["SVD_UI_X"] = f"https://u:{secret}@h is wrong"
    patient = Patient(settings, faults, Hub(settings), DEVICE, "")
    text = json.dumps(facts(patient, examine(patient)))
    assert "mirror.example/hf" in text
    assert secret not in text
    assert secret.replace("-", "") not in text


def test_the_checks_are_in_the_order_of_mending() -> None:
    names = [check.__name__ for check in CHECKS]
    order = ["python", "packages", "values", "card", "worker", "writable", "disk", "codecs", "address", "network"]
    assert [name for name in names if name in order] == order


def test_a_database_that_cannot_be_used_is_found_and_its_password_not_shown(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SVD_UI_DATABASE", "postgresql://ann:s3cret@127.0.0.1:1/svd")
    found = ask()["database_unusable"].to_dict()
    assert found["wrong"]
    assert "s3cret" not in str(found)
    assert "127.0.0.1:1/svd" in found["what"] or "not installed" in found["what"]


def test_of_several_devices_those_that_cannot_work_are_named(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVD_UI_DEVICES", "cuda:0,cuda:1,cuda:2,cuda:1")
    settings, faults = usable()
    states = (
        DeviceState(name="cuda:0", doing="free", device=DEVICE),
        DeviceState(name="cuda:1", doing="resting", why="There is no device 'cuda:1' here."),
        DeviceState(name="cuda:2", doing="resting", device=DEVICE, why="CUDA error: GPU is lost", back=1.0),
    )
    patient = Patient(settings, faults, Hub(settings), DEVICE, "", states)
    found = {finding.code: finding.to_dict() for finding in devices.usable(patient)}
    assert found["device_absent"]["what"] == "cuda:1 cannot be used: There is no device 'cuda:1' here"
    assert found["device_resting"]["what"] == "cuda:2 rests: CUDA error: GPU is lost"
    assert "cuda:1" in found["device_repeated"]["what"]
    told = facts(patient, [])["devices"]
    assert [one["name"] for one in told] == ["cuda:0", "cuda:1", "cuda:2"]
    assert told[2]["said"] == "resting, being tried again: CUDA error: GPU is lost"
