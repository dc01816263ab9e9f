"""What a report for strangers keeps to itself."""

from __future__ import annotations

from svd_ui.jobs import Job
from svd_ui.validation import validate
from svd_ui.web.visitor import error_report


def test_a_report_names_no_picture_of_a_method() -> None:
    refs = [f"sha256:{letter * 64}" for letter in "abc"]
    method = {"kind": "end_frame", "image": refs[1], "keys": f"0.4={refs[2]}"}
    request = validate({"image": refs[0], "method": method})
    text = error_report(Job(id="x", owner="y", state="failed", request=request, created=0.0), None)
    assert not any(ref in text for ref in refs)
    assert "0.4=(given)" in text
