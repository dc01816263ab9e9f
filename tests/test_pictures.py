"""Which pictures a request speaks of, and how others take their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from svd_ui.asset_ref import timed
from svd_ui.assets import Assets
from svd_ui.errors import BadInput, BadPicture
from svd_ui.pictures import Place, missing, pictures, require, taken
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from svd_ui.validation import validate
from tests.fakes import picture

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def end_frame(**values: Any) -> GenerationRequest:
    return validate({"image": A, "method": {"kind": "end_frame", **values}})


def test_every_picture_is_listed_with_its_place() -> None:
    found = pictures(end_frame(image=B, keys=f"0.7={C}; 0.4={A}"))
    assert [(place.field, ref) for place, ref in found] == [
        ("image", A), ("method.end_frame.image", B), ("method.end_frame.keys", A), ("method.end_frame.keys", C),
    ]  # fmt: skip
    assert pictures(validate({"prompt": "a fox"})) == ()
    assert [ref for _, ref in pictures(validate({"image": A, "method": {"kind": "lock", "mask": B}}))] == [A, B]


def test_pictures_between_are_shares_and_refs() -> None:
    assert timed("0.7=b ; 0.25=a") == ((0.25, "a"), (0.7, "b"))
    for wrong in ("0.4", "1.5=x", "soon=x", "0.4=", "0.4=x;0.40=y"):
        with pytest.raises(ValueError, match="picture"):
            timed(wrong)
    with pytest.raises(BadInput, match="upload the file instead") as error:
        end_frame(keys="0.4=/etc/passwd")
    assert error.value.field == "method.end_frame.keys"


def test_what_was_given_becomes_a_ref_and_refs_stay() -> None:
    asked: list[tuple[Place, Any]] = []

    def take(place: Place, value: Any) -> str:
        asked.append((place, value))
        return C

    values = {"seed": 1, "method": {"kind": "end_frame", "image": B, "keys": "0.4=mid.jpg; 0.7=" + A}}
    found = taken(values, take)
    assert found["method"] == {"kind": "end_frame", "image": B, "keys": f"0.4={C}; 0.7={A}"}
    assert [(place.field, value) for place, value in asked] == [("method.end_frame.keys", "mid.jpg")]
    upload = {"path": "x"}
    assert taken({"method": {"kind": "end_frame", "keys": {"0.4": upload}}}, take)["method"]["keys"] == f"0.4={C}"
    for untouched in (
        {"method": {"kind": "nothing"}},
        {"method": 3},
        {"post": [{"kind": "boomerang"}]},
        {"method": {}},
    ):
        assert taken(untouched, take) == untouched


def test_a_picture_that_is_gone_or_damaged_is_said_by_its_field(tmp_path: Path) -> None:
    assets = Assets.of(Settings(data_dir=tmp_path))
    here, other = assets.keep(picture(0.1)), assets.keep(picture(0.4))
    request = validate({"image": here, "method": {"kind": "brush", "mask": other}})
    require(assets, request)
    assert missing(assets, request) == ()
    assets.path(other).write_bytes(b"something else")
    with pytest.raises(BadPicture, match="damaged") as damaged:
        require(assets, request)
    (tmp_path / "assets" / other[7:9] / f"{other[7:]}.png").unlink()
    with pytest.raises(BadInput, match="Mask picture: the picture is gone") as gone:
        require(assets, request)
    assert damaged.value.field == gone.value.field == "method.brush.mask"
    assert [place.title for place in missing(assets, request)] == ["Mask picture"]
