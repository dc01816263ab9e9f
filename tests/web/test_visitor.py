"""What a report for strangers keeps to itself."""

from __future__ import annotations

from svd_ui.errors import ClusterUnusable
from svd_ui.jobs import Job
from svd_ui.validation import validate
from svd_ui.web.visitor import error_report, said


def test_a_report_names_no_picture_of_a_method() -> None:
    refs = [f"sha256:{letter * 64}" for letter in "abc"]
    method = {"kind": "end_frame", "image": refs[1], "keys": f"0.4={refs[2]}"}
    request = validate({"image": refs[0], "method": method})
    text = error_report(Job(id="x", owner="y", state="failed", request=request, created=0.0), None)
    assert not any(ref in text for ref in refs)
    assert "0.4=(given)" in text


def test_where_a_cluster_is_only_its_operator_is_told() -> None:
    error = ClusterUnusable(address="ray://gpu-head.intern:10001", reason="nobody answers there", remedy="").to_dict()
    assert "gpu-head" in said(error, remote=False)
    assert "gpu-head" not in said(error, remote=True)
