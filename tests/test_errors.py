"""Errors survive the trip to another process and to JSON, and each names a remedy."""

from __future__ import annotations

import pickle

import pytest

from svd_ui import errors

SAMPLES: list[errors.SvdUiError] = [
    errors.BadInput("Width must be a multiple of 8.", "width"),
    errors.BadPicture("This is not a picture.", "image"),
    errors.BadClip("This is not a clip.", name="a.mp4"),
    errors.NotWaiting(),
    errors.QueueFull(),
    errors.NotFound(what="job"),
    errors.NotAllowed(what="download weights"),
    errors.WeightsMissing(title="SVD", remedy="Download them."),
    errors.WeightsDamaged(file="svd.safetensors", detail="is empty"),
    errors.HubRefused(title="SVD-XT 1.1", url="https://example.org"),
    errors.HubOffline(title="SVD", folder="models"),
    errors.DiskTooSmall(title="SVD", needed="4.5 GB", free="1 GB", where="/"),
    errors.OutOfMemory(doing="denoising", remedy="Choose profile '8gb'."),
    errors.HostOutOfMemory(doing="loading the model", remedy="Close other programs."),
    errors.NotFinite(doing="denoising", remedy="Lower the weight of the LoRAs."),
    errors.UnfitBuild(remedy="Update the driver."),
    errors.PluginFailed(name="Wobble", package="stranger 1.0", detail="KeyError"),
    errors.StepRanOut(name="Wobble", index=1),
    errors.DiskFull(),
    errors.WorkerStopped(reason="killed"),
    errors.Displaced(reason="the cluster was taken down"),
    errors.DiedAgain(where="after step 3 of 25", reason="killed"),
    errors.ClusterUnusable(address="ray://host:10001", reason="nobody answers there", remedy="Start it."),
    errors.RayMissing(address="auto"),
    errors.ClusterMismatch(address="auto", reason="it runs Ray 2.59", remedy="Use one release."),
    errors.NoReplica(address="auto", reason="no replica took the clip in time", remedy="Wait longer."),
    errors.TookTooLong(seconds=3600),
    errors.GpuRefused(reason="No GPU was available.", remedy="Try again in a minute."),
    errors.GpuTimeShort(needed=908, limit=300),
    errors.HistoryUnusable(path="svd_ui.sqlite3", detail="damaged"),
    errors.HistoryGone(path="/data/svd_ui.sqlite3"),
    errors.HistoryNewer(path="/data/svd_ui.sqlite3"),
    errors.HistoryUnreachable(path="db.example/svd", detail=" (connection refused)", remedy="Start it."),
    errors.HistoryRefused(path="db.example/svd", detail="wrong password", remedy="Correct SVD_UI_DATABASE."),
    errors.Interrupted(),
    errors.Cancelled(),
    errors.Unexpected(detail="KeyError"),
]


def test_samples_cover_the_tree() -> None:
    every = set(errors._subclasses(errors.SvdUiError)) - {errors.SvdUiError}
    assert {type(sample) for sample in SAMPLES} == every
    assert len({cls.code for cls in every}) == len(every)


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: error.code)
def test_pickle_and_json_round_trips(error: errors.SvdUiError) -> None:
    for copy in (pickle.loads(pickle.dumps(error)), errors.from_dict(error.to_dict())):
        assert type(copy) is type(error)
        assert (copy.message, copy.exit_code, copy.params) == (error.message, error.exit_code, error.params)


def test_records_of_a_newer_release_still_read() -> None:
    assert "melted" in errors.from_dict({"code": "gpu_melted", "message": "It melted."}).message
    assert errors.from_dict({"code": "hub_refused", "params": {}}).code == "hub_refused"


def test_exit_codes_of_the_command_line() -> None:
    codes = {type(sample).__name__: sample.exit_code for sample in SAMPLES}
    assert codes["BadPicture"] == 2 and codes["HubOffline"] == 3 and codes["OutOfMemory"] == 4
    assert codes["Cancelled"] == 130 and codes["WorkerStopped"] == 1
