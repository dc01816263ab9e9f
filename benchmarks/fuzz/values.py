"""What nobody sends: texts, numbers, headers, bodies and bytes."""

from __future__ import annotations

from hypothesis import strategies as st

EVIL = (
    "", " ", "\0", "a\0b", "../../../etc/passwd", "..\\..\\windows\\win.ini", "/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:1/",
    "<script>alert(1)</script>", "'; DROP TABLE jobs; --", "%00", "%2e%2e%2f", "{0.__class__.__mro__}", "${jndi:ldap://x}", "%s%s%n",
    "\u202eevil", "\ud800", "\U0001f4a5" * 500, "x" * 30_000, "sha256:" + "0" * 64, "sha256:../../x", "NaN", "1e999", "-0", "\u0661\u0662",
    "CON", "\r\nSet-Cookie: a=b", "0" * 32, "A" * 32, "first", "local:../..", "{\"svd_ui\": 1}", "[" * 3000, "\ufeff", "\x7f\x1b[31m",
)  # fmt: skip
NUMBERS = (
    0,
    -1,
    1,
    2**31,
    2**53,
    2**63,
    2**64,
    -(2**63),
    10**400,
    1e308,
    -1e308,
    5e-324,
    float("nan"),
    float("inf"),
    float("-inf"),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(NUMBERS),
    st.sampled_from(EVIL),
    st.text(max_size=20),
)
HOSTILE = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(EVIL) | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get")
HEADERS = (
    "Range", "If-Range", "If-Modified-Since", "If-None-Match", "Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cookie",
    "Content-Type", "Content-Length", "Transfer-Encoding", "Host", "Origin", "Referer", "Sec-Fetch-Site", "Sec-Fetch-Mode", "X-Forwarded-For",
    "X-Forwarded-Host", "X-Forwarded-Proto", "X-SVD-UI", "Expect", "Upgrade", "Connection", "X-Gradio-User",
)  # fmt: skip
VALUES = (
    b"bytes=0-", b"bytes=5-2", b"bytes=-99999999999", b"bytes=0-0,1-1,2-2", b"bytes=" + b"0-1," * 400, b"Basic Og==", b"Basic !!!", b"Bearer x",
    b"*/*;q=NaN", b"multipart/form-data", b"multipart/form-data; boundary=", b"application/json; charset=utf-7", b"chunked", b"-1", b"99999999999",
    b"evil.example", b"127.0.0.1", b"[::1", b"null", b"https://evil.example", b"cross-site", b"\xff\xfe\xfd", b"svd_ui_visitor=\xc3\xa9", b"a" * 8000,
    b"svd_ui_visitor=" + b"z" * 3000, b"Thu, 99 Foo 9999 99:99:99 GMT", b"100-continue", b"websocket", b"1",
)  # fmt: skip
PLAIN = (
    "", "config", "svd/queue", "svd/queue.zip", "svd/history", "svd/frame", "metrics", "ready", "health", "gradio_api/info", "gradio_api/upload",
    "gradio_api/queue/join", "gradio_api/queue/data", "gradio_api/queue/status", "gradio_api/cancel", "gradio_api/reset", "login", "openapi.json",
    "gradio_api/component_server", "gradio_api/run/predict", "gradio_api/call/generate", "gradio_api/startup-events", "theme.css",
)  # fmt: skip
OPEN = (
    "svd/job/", "svd/status/", "svd/still/", "svd/example/", "svd/sketch/", "svd/run/x/", "gradio_api/file=", "gradio_api/file/", "static/",
    "assets/", "svelte/", "gradio_api/call/", "gradio_api/run/", "gradio_api/api/", "gradio_api/call/submit/", "gradio_api/heartbeat/",
    "gradio_api/call/v2/", "gradio_api/custom_component/", "gradio_api/stream/", "svd/job/x/", "gradio_api/proxy=", "monitoring/",
)  # fmt: skip
QUERIES = (
    "path",
    "at",
    "w",
    "h",
    "x",
    "y",
    "limit",
    "before",
    "download",
    "session_hash",
    "page",
    "deep_link",
    "upload_id",
    "__theme",
)
BODIES = (
    b"[" * 50_000, b'{"data":' + b"[" * 20_000, b'{"a":' * 5000, b'{"data": [1e999999]}', b'{"data": [' + b"9" * 5000 + b"]}", b"\xff\xfe{}",
    b'{"data": null}', b'{"data": {}}', b"null", b"[]", b"0", b'"', b"--x\r\nContent-Disposition: form-data; name=files; filename=\"../a\"\r\n\r\nz\r\n--x--",
    b'{"do": "move", "id": {}, "where": []}', b'{"do": "edit", "id": "", "request": {"post": [{}]}}', b"a=" + b"%00" * 3000,
)  # fmt: skip
NOISE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n", b"ffffffffffffffff\r\n", b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n", b"X: " + b"b" * 70_000 + b"\r\n", b"\r\n", b"\0" * 50,
)  # fmt: skip
