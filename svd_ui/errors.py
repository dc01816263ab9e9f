"""Everything that can go wrong, as types. Foreign exceptions are mapped to these at one border
(``engine/error_mapping.py``); shells render them, never tracebacks.

    SvdUiError                         code             exit
    ├── BadInput                       bad_input           2   names the field it belongs to
    │   ├── BadPicture                 bad_picture         2
    │   ├── BadClip                    bad_clip            2   of clips to train on, by its name
    │   ├── NotWaiting                 not_waiting         2   a clip that has begun cannot be changed any more
    │   └── QueueFull                  queue_full          2
    ├── NotFound                       not_found           2   also what belongs to somebody else
    ├── NotAllowed                     not_allowed         2   what only the page's operator may do
    ├── WeightsMissing                 weights_missing     3
    │   ├── WeightsDamaged             weights_damaged     3   a file that is there is not what it should be
    │   ├── HubRefused                 hub_refused         3   401 / 403: form not accepted, no token
    │   ├── HubOffline                 hub_offline         3
    │   └── DiskTooSmall               disk_too_small      3   found before a download
    ├── OutOfMemory                    out_of_memory       4
    │   └── HostOutOfMemory            host_out_of_memory  4   of the machine, not of the device
    ├── NotFinite                      not_finite          1   numbers that overflowed, in the widest format too
    ├── UnfitBuild                     unfit_build         1   the PyTorch installed is not for this card or driver
    ├── PluginFailed                   plugin_failed       1   a fault inside a control method or a post step
    │   └── StepRanOut                 step_ran_out        1   memory ran out in a post step: the clip is kept without it
    ├── DiskFull                       disk_full           1   while writing a result
    ├── WorkerStopped                  worker_stopped      1
    │   ├── Displaced                  displaced           1   its place was taken away: no fault of the job, it waits again
    │   ├── DiedAgain                  died_again          1   a job that came no further than the first time
    │   └── ClusterUnusable            cluster_unusable    1   nothing of it answers, or none of ours runs there
    │       ├── RayMissing             ray_missing         1   the package is not installed here
    │       ├── ClusterMismatch        cluster_mismatch    1   other releases of Ray, Python or this app there
    │       └── NoReplica              no_replica          1   none took the clip in time
    ├── TookTooLong                    took_too_long       1   SVD_UI_MAX_SECONDS
    ├── GpuRefused                     gpu_refused         1   ZeroGPU lends none now
    │   └── GpuTimeShort               gpu_time_short      1   a clip needs it longer than it is lent
    ├── HistoryUnusable                history_unusable    1   the database is damaged or cannot be written
    │   ├── HistoryGone                history_gone        1   it was moved, removed or replaced while it was in use
    │   ├── HistoryNewer               history_newer       1   it was made by a newer release
    │   ├── HistoryUnreachable         history_unreachable 1   the database server does not answer: tried again
    │   └── HistoryRefused             history_refused     1   it answers, and does not let us in or take what we say
    ├── Interrupted                    interrupted         1
    ├── Cancelled                      cancelled         130
    └── Unexpected                     unexpected          1   anything unmapped; details in the log

An error is a code, plain parameters and a sentence made of both, so that it can be stored, sent to
another process and rendered in another language.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

SECRET = "(secret)"
_SECRETS = re.compile(
    r"""(?ix)
    (?P<before>
        ://(?=[^\s/?\#"'<>]*@) | ://(?=[^\s/?\#"'<>:@]+:(?!\d*[/?\#])[^\s"'<>]*@)   # user:password@ of an address
        | \bbearer\s+ | \bauthorization["']?\s*[:=]\s*["']?(?:\w+\s+)?
        | (?:[?&;\s"'{,]|^)[\w-]*(?:token|passw(?:or)?d|secret|api[_-]?key|signature|credential)["']?\s*[=:]\s*["']?(?=[^\s(])
    )
    (?P<user>(?<=://)[^\s"'<>]*(?=@) | (?<!://)[^\s"'&,}]+)
    | \b(?-i:hf_[A-Za-z0-9]{8,} | gh[pousr]_[A-Za-z0-9]{8,} | github_pat_\w{8,} | glpat-[\w-]{8,} | sk-[\w-]{16,}
        | AKIA[A-Z0-9]{12,} | eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]+)?)
    | (?<![\w/:.-])(?!local:)[\w.-]+:[^\s/@:"']+(?=@[\w.-]+)   # the same without http://, but no checkpoint's id
    """
)


def without_secrets(text: str) -> str:
    """``text`` with tokens, and users and passwords in addresses, made unreadable. Whatever leaves the app goes through it."""
    return _SECRETS.sub(lambda found: (found["before"] or "") + SECRET, text)


class SvdUiError(Exception):
    """Base of the tree. ``template`` says what happened and what to do; ``params`` fill it."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    template: ClassVar[str] = "{detail}"

    def __init__(self, **params: Any) -> None:
        # What another library says may hold an address with a password, and an error is stored, sent and shown.
        masked = {name: without_secrets(value) if isinstance(value, str) else value for name, value in params.items()}
        self.params: dict[str, Any] = masked
        super().__init__(self.template.format_map(_Blank(masked)))

    @property
    def message(self) -> str:
        return str(self)

    def to_dict(self) -> dict[str, Any]:
        """JSON for events, the store and the API."""
        return {"code": self.code, "message": self.message, "params": self.params}

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self).code, self.params))


class _Blank(dict[str, Any]):
    """A parameter of a newer release may be missing in an older record: show nothing, never fail."""

    def __missing__(self, key: str) -> str:
        return ""


class BadInput(SvdUiError):
    """``field`` is the request field it belongs to, or None."""

    code = "bad_input"
    exit_code = 2

    def __init__(self, detail: str, field: str | None = None, **params: Any) -> None:
        super().__init__(detail=detail, field=field, **params)

    @property
    def field(self) -> str | None:
        return self.params.get("field")


class BadPicture(BadInput):
    code = "bad_picture"

    def __init__(self, detail: str, field: str | None = "image", **params: Any) -> None:
        super().__init__(detail, field, **params)


class NotWaiting(BadInput):
    code = "not_waiting"

    def __init__(self, detail: str = "", field: str | None = None, **params: Any) -> None:
        text = "That clip is not waiting any more: stop it, or change its settings and run it anew."
        super().__init__(detail or text, field, **params)


class BadClip(BadInput):
    """``name`` is the clip's, ``detail`` goes on from there."""

    code = "bad_clip"
    template = "{name} {detail}"

    def __init__(self, detail: str, field: str | None = "data", *, name: str, **params: Any) -> None:
        super().__init__(detail, field, name=name, **params)


class QueueFull(BadInput):
    code = "queue_full"

    def __init__(self, detail: str = "The queue is full: wait for a clip to finish, then try again.", **kw: Any):
        super().__init__(detail, **kw)


class NotFound(SvdUiError):
    code = "not_found"
    exit_code = 2
    template = "There is no {what} here, or it belongs to somebody else."


class NotAllowed(SvdUiError):
    """``what`` goes on after "may"."""

    code = "not_allowed"
    exit_code = 2
    template = "Only the operator of this page may {what}. {remedy}"

    def __init__(self, what: str, remedy: str = "Ask them.", **params: Any) -> None:
        super().__init__(what=what, remedy=remedy, **params)


class WeightsMissing(SvdUiError):
    code = "weights_missing"
    exit_code = 3
    template = "The weights of {title} are not on this machine. {remedy}"


GET_AGAIN = "Get that file again."


class WeightsDamaged(WeightsMissing):
    """``file`` is its name, ``detail`` goes on from there."""

    code = "weights_damaged"
    template = "{file} {detail}. {remedy}"

    def __init__(self, file: str, detail: str, remedy: str = GET_AGAIN, **params: Any) -> None:
        super().__init__(file=file, detail=detail, remedy=remedy, **params)


class HubRefused(WeightsMissing):
    code = "hub_refused"
    template = (
        "The hub refused {title}: accept its form at {url} where it has one, then give a read token as HF_TOKEN "
        "or with 'hf auth login', and try again. A wrong name is refused in the same way."
    )


class HubOffline(WeightsMissing):
    code = "hub_offline"
    template = (
        "The model hub cannot be reached{where}, and {title} is not on this machine. Connect and try again, "
        "or put a diffusers folder into {folder}."
    )


class DiskTooSmall(WeightsMissing):
    code = "disk_too_small"
    template = "{title} needs {needed} but only {free} are free at {where}. Free some space or set HF_HOME."


class OutOfMemory(SvdUiError):
    code = "out_of_memory"
    exit_code = 4
    template = "The device ran out of memory while {doing}. {remedy}"


class HostOutOfMemory(OutOfMemory):
    code = "host_out_of_memory"
    template = "The computer ran out of memory while {doing}. {remedy}"


class NotFinite(SvdUiError):
    code = "not_finite"
    template = "The clip broke while {doing}: its values overflowed, even in float32. {remedy}"


class UnfitBuild(SvdUiError):
    code = "unfit_build"
    template = "The PyTorch installed does not run on this card or with its driver. {remedy}"


class PluginFailed(SvdUiError):
    """``name`` is what failed as people know it, ``package`` where it comes from."""

    code = "plugin_failed"
    template = (
        "{name} failed ({detail}). Make the clip without it, or ask the makers of {package}. The log has the details."
    )


class StepRanOut(PluginFailed):
    """``index`` is the step's place among those of the request."""

    code = "step_ran_out"
    template = "Out of memory in {name}."


class DiskFull(SvdUiError):
    code = "disk_full"
    template = "The disk is full: nothing more can be written. Free some space, then try again."


class WorkerStopped(SvdUiError):
    code = "worker_stopped"
    template = "The worker stopped ({reason}). Run the clip again: that starts a new one."


class Displaced(WorkerStopped):
    """Its place was taken away, and nothing that it did is the reason: it waits again, and that counts for nothing."""

    code = "displaced"
    template = "The clip had to stop: {reason}. Run it again: it goes on from its last step."


class DiedAgain(WorkerStopped):
    """``where`` says how far the job had come."""

    code = "died_again"
    template = (
        "It stopped again {where} ({reason}). Try again. If memory was short, use fewer frames, a smaller size "
        "or a smaller memory profile."
    )


class ClusterUnusable(WorkerStopped):
    """``address`` is that of ``SVD_UI_CLUSTER``, ``reason`` says what is wrong there, ``remedy`` what to do."""

    code = "cluster_unusable"
    template = "The cluster at {address} cannot be used: {reason}. {remedy}"


class RayMissing(ClusterUnusable):
    code = "ray_missing"

    def __init__(self, **params: Any) -> None:
        remedy = "In the app's folder, run: .venv/bin/python -m pip install -e '.[cluster]'."
        super().__init__(**{"reason": "Ray is not installed here", "remedy": remedy, **params})


class ClusterMismatch(ClusterUnusable):
    code = "cluster_mismatch"


class NoReplica(ClusterUnusable):
    code = "no_replica"


class TookTooLong(SvdUiError):
    code = "took_too_long"
    template = (
        "Stopped after {seconds} seconds, the longest a clip may take here. "
        "Use fewer steps, fewer frames or a smaller size."
    )


class GpuRefused(SvdUiError):
    """``reason`` is ZeroGPU's own sentence."""

    code = "gpu_refused"
    template = "{reason} {remedy}"


class GpuTimeShort(GpuRefused):
    """``needed`` and ``limit`` are seconds."""

    code = "gpu_time_short"
    template = (
        "This clip needs a GPU for about {needed} seconds, and at most {limit} are lent for one clip here. "
        "Use fewer steps, fewer frames or a smaller size, or choose Fast or Draft."
    )


class HistoryUnusable(SvdUiError):
    code = "history_unusable"
    template = (
        "The history at {path} cannot be used ({detail}). Nothing was deleted: check the folder, restore a copy, "
        "or rebuild it from the clips with 'python -m svd_ui history recover'."
    )


class HistoryGone(HistoryUnusable):
    code = "history_gone"
    template = (
        "The history at {path} was moved, removed or replaced while the app was running. Put it back, and start the "
        "app again."
    )


class HistoryNewer(HistoryUnusable):
    """``other`` says how another history is named."""

    code = "history_newer"
    template = "The history at {path} was made by a newer release. Nothing was changed: update the app, or set {other}."

    def __init__(self, other: str = "SVD_UI_DATA_DIR to another folder", **params: Any) -> None:
        super().__init__(other=other, **params)


class HistoryUnreachable(HistoryUnusable):
    """While a page works visitors read it too, so it names nothing; at the start it says where and why."""

    code = "history_unreachable"
    template = "The database {path} does not answer{detail}. {remedy}"

    def __init__(
        self, path: str = "of this page", detail: str = "", remedy: str = "Try again in a moment.", **params: Any
    ) -> None:
        super().__init__(path=path, detail=detail, remedy=remedy, **params)


class HistoryRefused(HistoryUnusable):
    """``detail`` goes on from there, ``remedy`` is a sentence."""

    code = "history_refused"
    template = "The database {path} cannot be used: {detail}. {remedy}"


class Interrupted(SvdUiError):
    code = "interrupted"
    template = "The app stopped while this clip was being made. Run it again with one click."


class Cancelled(SvdUiError):
    code = "cancelled"
    exit_code = 130
    template = "Stopped."


class Unexpected(SvdUiError):
    code = "unexpected"
    template = "Something unexpected went wrong ({detail}). The log has the details; please report it."


def _subclasses(cls: type[SvdUiError]) -> list[type[SvdUiError]]:
    return [cls, *(leaf for child in cls.__subclasses__() for leaf in _subclasses(child))]


def _rebuild(code: str, params: dict[str, Any]) -> SvdUiError:
    cls = next((c for c in _subclasses(SvdUiError) if c.code == code), Unexpected)
    return cls(**params)


def from_dict(data: dict[str, Any]) -> SvdUiError:
    """The inverse of ``to_dict``; an unknown code of a newer release becomes ``Unexpected``."""
    code, params = str(data.get("code", "")), dict(data.get("params") or {})
    if code not in {c.code for c in _subclasses(SvdUiError)}:
        return Unexpected(detail=data.get("message", code))
    return _rebuild(code, params)
