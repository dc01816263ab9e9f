"""A process's connection to a Ray cluster, and the desk at its other end."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from ... import __version__
from ...errors import Cancelled, ClusterMismatch, ClusterUnusable, RayMissing, SvdUiError, without_secrets
from ...settings import Settings
from .. import CancelToken, Device
from . import DESK, DESK_APP

CONNECT_SECONDS = 60.0
HELLO_SECONDS = 10.0
FRESH_SECONDS = 5.0
"""How long an answer of the desk counts as a sign of life."""
_TICK = 0.1
BEFORE_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # else a call while it is away starts a Ray on this machine, which is then ours for good
    "RAY_SERVE_LOG_TO_STDERR": "0",  # this program says itself what there is to say
    # How long to wait for the desk to say that it is there; Ray's tenth of a second is for machines side by side.
    "RAY_SERVE_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "5",
    "RAY_SERVE_MAX_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "5",
}
LOUDNESS = {"ray": logging.ERROR, "ray.serve": logging.ERROR, "ray.util.client": logging.CRITICAL}
"""Ray's client logs a traceback for every question that was withdrawn."""
START = "Start it, correct SVD_UI_CLUSTER, or unset it to make clips on this machine."
DEPLOY = "Run: python -m svd_ui cluster deploy."


def connect(address: str) -> Any:
    """The module ``ray``, connected to ``address``. A process has one such connection. Raises ClusterUnusable."""
    for name, value in BEFORE_RAY.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.serve
    except ImportError as error:
        raise RayMissing(address=address) from error
    for name, level in LOUDNESS.items():
        logging.getLogger(name).setLevel(level)
    if ray.is_initialized():
        return ray
    _knock(address)
    if address.startswith("ray://"):
        _quiet_end()
    # Out of the main thread, whose signals are the page's: Ray would take SIGTERM for itself.
    with ThreadPoolExecutor(1) as alone:
        try:
            alone.submit(
                ray.init,
                address,
                namespace="svd-ui",
                log_to_driver=False,
                logging_level="ERROR",
                configure_logging=False,
            ).result()
        except Exception as error:
            raise _said(error, address) from error
    return ray


def _quiet_end() -> None:
    """The thread of Ray's client ends with a traceback where a question was withdrawn before: nothing that anybody can mend."""
    otherwise = threading.excepthook

    def hook(failure: threading.ExceptHookArgs) -> None:
        name = failure.thread.name if failure.thread is not None else ""
        if not (name == "ray_client_streaming_rpc" and isinstance(failure.exc_value, InvalidStateError)):
            otherwise(failure)

    threading.excepthook = hook


def _knock(address: str) -> None:
    """Ray itself waits a minute and a half for a machine that is not there."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        reason = f"nobody answers there ({error.strerror or error})"
        raise ClusterUnusable(address=address, reason=reason, remedy=START) from error


def _said(error: Exception, address: str) -> SvdUiError:
    text = without_secrets("\n".join(_chain(error)))
    if "ersion" in text and ("mismatch" in text.lower() or "differ" in text):
        reason = "it runs another release of Ray or Python: " + " ".join(text.split())[:200]
        return ClusterMismatch(address=address, reason=reason, remedy="Use the same releases on both sides.")
    if "uthenticat" in text or "InvalidAuthToken" in text:
        remedy = "Set RAY_AUTH_MODE to token, and RAY_AUTH_TOKEN (or a file's RAY_AUTH_TOKEN_PATH) to the cluster's."
        return ClusterUnusable(address=address, reason="it asks for a token", remedy=remedy)
    first = next(iter(text.strip().splitlines()), type(error).__name__)[:200]
    return ClusterUnusable(address=address, reason=first.rstrip("."), remedy=START)


def _chain(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__


class Link:
    """The desk of the cluster of ``settings``, for all engines of this process. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self.ships = False
        """Whether replicas were met that do not see this page's folder: pictures are brought along then."""
        self.most = 1
        """How many replicas there may be."""
        self.device: Device | None = None
        self._settings = settings
        self._connecting = threading.Lock()
        self._desk: Any = None
        self._fresh = 0.0
        self._closed = False

    @property
    def address(self) -> str:
        return self._settings.cluster

    def check(self) -> None:
        """Connect if need be, and hear what the desk says about itself. Raises ClusterUnusable."""
        with self._connecting:
            if self._closed:
                raise ClusterUnusable(address=self.address, reason="the app is closing", remedy="")
            if self._desk is not None and time.monotonic() - self._fresh < FRESH_SECONDS:
                return
            ray = connect(self.address)
            try:
                self._greet()
            except ClusterUnusable:
                raise
            except Exception as error:
                self._desk = None
                with suppress(Exception):  # the next try begins anew, perhaps with a head that was started again
                    ray.shutdown()
                raise _said(error, self.address) from error

    def ready(self, cancel: CancelToken) -> None:
        """Wait for the cluster, as long as the settings say. Raises ClusterUnusable, or Cancelled."""
        until = time.monotonic() + self._settings.cluster_wait
        while True:
            try:
                self.check()
                return
            except ClusterUnusable:
                if time.monotonic() > until or self._closed:
                    raise
            nap = time.monotonic() + 2.0
            while time.monotonic() < nap:
                if cancel.is_set():
                    raise Cancelled()
                time.sleep(_TICK)

    def ask(self, method: str, *args: Any) -> Callable[[float], Any]:
        """Ask the desk; what is returned gives the answer, once, waiting that many seconds. It raises TimeoutError after them."""
        if self._desk is None:
            self.check()
        response = getattr(self._desk, method).remote(*args)

        def answer(seconds: float) -> Any:
            found = response.result(timeout_s=seconds)
            self._fresh = time.monotonic()
            return found

        return answer

    def put(self, value: object) -> Any:
        """A reference to ``value`` in the cluster's object store."""
        import ray

        return ray.put(value)

    def close(self) -> None:
        """Leave the cluster; what it makes for this page is given up there."""
        with self._connecting:
            connected, self._desk, self._closed = self._desk is not None, None, True
        if connected:
            import ray

            ray.shutdown()

    def _greet(self) -> None:
        from ray import serve
        from ray.serve.exceptions import RayServeException

        if self._desk is None:
            try:
                serve.get_app_handle(DESK_APP)
            except RayServeException as error:
                reason = "none of our replicas runs there"
                raise ClusterUnusable(address=self.address, reason=reason, remedy=DEPLOY) from error
            self._desk = serve.get_deployment_handle(DESK, DESK_APP)
        hello = self._desk.hello.remote().result(timeout_s=HELLO_SECONDS)
        if hello["release"] != __version__:
            reason = f"svd-ui is {hello['release']} there and {__version__} here"
            raise ClusterMismatch(address=self.address, reason=reason, remedy=f"Use one release. {DEPLOY}")
        self.most = hello["most"]
        devices = [one["device"] for one in hello["replicas"].values() if one["device"]]
        if devices and self.device is None:
            self.device = Device.model_validate(devices[0])
        self._fresh = time.monotonic()
