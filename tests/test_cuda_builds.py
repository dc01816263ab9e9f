"""Whether the PyTorch installed runs on the card that is there, and which build does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from svd_ui.catalog.cuda_builds import BUILDS, Card, TorchBuild, build_for, installed_cards, mismatch
from svd_ui.notes import sentence

CU130 = TorchBuild("2.13.0+cu130", "13.0", ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"))
CU126 = TorchBuild("2.13.0+cu126", "12.6", ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"))
CPU = TorchBuild("2.13.0+cpu", None)
GTX_1080 = Card("NVIDIA GeForce GTX 1080", (6, 1), 580)
V100 = Card("Tesla V100-SXM2-16GB", (7, 0), 535)
GTX_1660 = Card("NVIDIA GeForce GTX 1660", (7, 5), 580)
RTX_4090 = Card("NVIDIA GeForce RTX 4090", (8, 9), 580)
RTX_5090 = Card("NVIDIA GeForce RTX 5090", (12, 0), 580)
KEPLER = Card("NVIDIA GeForce GTX 780", (3, 5), 470)


@pytest.mark.parametrize("card", [GTX_1660, RTX_4090, RTX_5090], ids=lambda card: card.name)
def test_nothing_is_said_of_a_card_that_fits(card: Card) -> None:
    assert mismatch(CU130, card) is None


@pytest.mark.parametrize(
    ("torch", "card", "code", "words"),
    [
        (CU130, GTX_1080, "no_code_for_card", ["GTX 1080", "capability 6.1", "CUDA 13.0", "sm_75", "/cu126"]),
        (CU130, Card("Tesla V100", (7, 0), 580), "no_code_for_card", ["7.0", "torch==2.13.0+cu126 ", "/cu126"]),
        (CU130, V100, "driver_too_old", ["535", "580", "CUDA 13.0", "/cu126"]),
        (CU130, Card("RTX 3060", None, 545), "driver_too_old", ["545", "Update the driver", "/cu126"]),
        (CU126, RTX_5090, "no_code_for_card", ["12.0", "/cu130"]),
        (CPU, RTX_4090, "torch_without_cuda", ["without CUDA", "/cu130"]),
        (CPU, V100, "torch_without_cuda", ["/cu126"]),
        (CU130, KEPLER, "driver_too_old", ["470", "No build", "CPU"]),
        (CU126, Card("GTX 780", (3, 5), 535), "no_code_for_card", ["3.5", "No build"]),
    ],
)
def test_what_does_not_fit_is_said_with_what_to_install(
    torch: TorchBuild, card: Card, code: str, words: list[str]
) -> None:
    note = mismatch(torch, card)
    assert note is not None
    assert note.code == code
    assert not [word for word in words if word not in sentence(note)], sentence(note)


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.cuda)
def test_a_build_that_is_recommended_would_not_be_complained_of(build: object) -> None:
    installed = {"13.0": CU130, "12.6": CU126}[build.cuda]  # type: ignore[attr-defined]
    for card in (GTX_1080, V100, GTX_1660, RTX_4090, RTX_5090):
        if build_for(card) is build:
            assert mismatch(installed, card) is None


@pytest.mark.parametrize(
    ("archs", "capability", "runs"),
    [
        ("sm_86", (8, 9), True),
        ("sm_86", (8, 0), False),
        ("sm_80", (9, 0), False),
        ("compute_80", (9, 0), True),
        ("compute_90", (8, 9), False),
        ("sm_90a", (9, 0), True),
        ("sm_100a", (10, 3), False),
        ("sm_120", (12, 1), True),
        ("gfx1100", (8, 6), False),
        ("", (8, 6), True),  # one that does not tell is believed
    ],
)
def test_code_runs_within_a_major_version_and_is_compiled_beyond(
    archs: str, capability: tuple[int, int], runs: bool
) -> None:
    assert TorchBuild("2.13.0", "13.0", tuple(archs.split())).has_code_for(capability) is runs


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for the program")
@pytest.mark.parametrize(
    ("answers", "cards"),
    [
        (
            {"compute_cap": "NVIDIA A100, 550.54.15, 8.0\nTesla V100, 550.54.15, 7.0"},
            [("NVIDIA A100", (8, 0), 550)] * 1,
        ),
        ({"driver_version": "GeForce GTX 1080, 470.82.00"}, [("GeForce GTX 1080", None, 470)]),
        ({"compute_cap": "Tesla K80, 470.1, [N/A]"}, [("Tesla K80", None, 470)]),
        ({}, []),
    ],
)
def test_the_driver_is_asked_for_its_cards(
    answers: dict[str, str], cards: list[tuple[object, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old one does not know all fields and says so by its exit code."""
    script = "#!/bin/sh\n" + "".join(
        f'case "$1" in *{field}) echo "{text}"; exit 0;; esac\n' for field, text in answers.items()
    )
    program = tmp_path / "nvidia-smi"
    program.write_text(script + "echo 'Field is not a valid field to query.'; exit 2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    found = installed_cards()
    assert found[: len(cards)] == [Card(*each) for each in cards]  # type: ignore[arg-type]
    assert bool(found) == bool(cards)


def test_a_machine_without_the_driver_has_no_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert installed_cards() == []
