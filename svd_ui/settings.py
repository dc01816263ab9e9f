"""Settings of the installation, from the environment (prefix ``SVD_UI_``) or a ``.env`` file."""

from __future__ import annotations

import ipaddress
import os
import platform
import re
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import platformdirs
from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, SettingsConfigDict

REPOSITORY = Path(__file__).resolve().parent.parent
LONGEST_PATH = 160 if os.name == "nt" else 480
"""Of the data folder; what lies in it has names of up to a hundred letters."""


class Settings(BaseSettings):
    """Every variable the app reads. ``doctor`` lists them from these fields."""

    # A blank variable means "not set". What was given is not repeated in errors: it may be a password.
    model_config = SettingsConfigDict(
        env_prefix="SVD_UI_",
        env_file=".env",
        env_file_encoding="utf-8-sig",  # Windows' Notepad puts a mark before the first letter
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    host: str = Field("127.0.0.1", description="Address to listen on. 0.0.0.0 opens the page to the network.")
    port: int = Field(7860, ge=1, le=65535, description="First port to try. If it is taken, the next free one is used.")
    root_path: str = Field(
        default_factory=lambda: os.environ.get("GRADIO_ROOT_PATH", ""),
        validate_default=True,
        description="Sub-path or full address behind a reverse proxy, such as /svd.",
    )
    ssl_certfile: Path | None = Field(None, description="Certificate (PEM) for https.")
    ssl_keyfile: Path | None = Field(None, description="The certificate's key, if it is in its own file.")
    ssl_keyfile_password: SecretStr = Field(SecretStr(""), description="Password of the key, if it has one.")
    data_dir: Path = Field(
        Path(platformdirs.user_data_dir("svd-ui", appauthor=False)),
        description="Where jobs, pictures and clips are kept.",
    )
    database: SecretStr = Field(
        SecretStr(""),
        description="Where several pages share one queue: postgresql://user:password@host/name. Default: a file in the data folder.",
    )
    checkpoint: str = Field("auto", description="Default checkpoint. auto: the best one here.")
    checkpoint_dirs: str = Field(
        "",
        description="More places with models, separated like PATH: folders such as ComfyUI's, files, extra_model_paths.yaml.",
    )
    profile: str = Field("auto", description="Default memory profile.")
    devices: str = Field(
        "auto",
        description="Devices to use, comma separated: cuda:0, cuda:1, mps, cpu. auto: all GPUs. cuda:0+cuda:1: both for one clip.",
    )
    cluster: str = Field(
        "", description="Ray cluster that makes the clips instead of this machine: ray://host:10001, host:6379 or auto."
    )
    cluster_storage: str = Field(
        "",
        description="Where pictures and clips cross to the cluster: a shared folder or s3://bucket/folder. Blank: Ray.",
    )
    cluster_wait: int = Field(
        600, ge=5, le=86_400, description="Seconds that a clip waits for the cluster, or for a free replica."
    )
    attention: str = Field("auto", description="auto (the fastest, measured), sdpa, xformers or flash.")
    number_format: Literal["auto", "float16", "bfloat16", "float32"] = Field(
        "auto", description="Number format of the model. auto: what suits the device, wider where it overflows."
    )
    exact: bool = Field(True, description="Speed-ups at full quality. false: diffusers' own layers, to compare.")
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="torch.compile on CUDA. auto: when several clips are queued."
    )
    text_to_image: str = Field(
        "stabilityai/sd-turbo", description="Model that makes pictures from prompts: a repository or folder."
    )
    plugins: Literal["on", "off"] = Field(
        "on", description="Control methods, post steps and checkpoints of other packages."
    )
    auth: SecretStr = Field(SecretStr(""), description="user:password to open the page.")
    accounts: Path | None = Field(
        None, description="File of accounts, see 'svd_ui accounts'. Default: accounts.json in the data folder."
    )
    operators: str = Field(
        "", description="Who runs a Space beside its author: names at Hugging Face, comma separated."
    )
    public: bool = Field(False, description="Others reach the page, through a web server on this machine.")
    allowed_hosts: str = Field(
        "", description="Names that the page answers to, comma separated, such as example.org or *.example.org."
    )
    log_format: Literal["text", "json"] = Field("text", description="Lines of the log: text, or json for a collector.")
    log_file: Path | None = Field(None, description="File that the log is written to as well, and put aside when full.")
    log_file_mb: int = Field(10, ge=1, le=10_000, description="MB of the log file after which it is put aside.")
    log_files: int = Field(5, ge=1, le=1000, description="Log files that were put aside and are kept.")
    keep_days: float = Field(
        0, ge=0, description="Days that finished clips are kept. 0: for ever. Older ones are deleted by themselves."
    )
    keep_gb: float = Field(
        0, ge=0, description="GB of clips that are kept, the newest. 0: all. Older ones are deleted by themselves."
    )
    share: bool = Field(False, description="Ask gradio for a public link.")
    idle_seconds: int = Field(600, ge=0, description="Seconds without work until device memory is freed. 0: never.")
    max_queue: int = Field(64, ge=1, le=10_000, description="Most jobs waiting at once, over all visitors.")
    max_visitor_jobs: int = Field(
        12, ge=1, le=10_000, description="Most unfinished jobs of a visitor; three times as many of an address."
    )
    max_visitor_uploads: int = Field(200, ge=1, description="Most uploads of a visitor in an hour.")
    max_visitor_upload_mb: int = Field(2000, ge=1, description="Most MB that a visitor uploads in an hour.")
    max_upload_mb: int = Field(50, ge=1, le=500, description="Largest upload, in MB.")
    max_pixels: int = Field(64_000_000, ge=1_000_000, description="Largest picture accepted, in pixels.")
    max_seconds: int = Field(3600, ge=1, description="Longest time a job may run, in seconds.")

    @field_validator(
        "data_dir", "checkpoint_dirs", "text_to_image", "ssl_certfile", "ssl_keyfile", "accounts", "log_file"
    )
    @classmethod
    def _no_escapes(cls, value: Path | str | None) -> Path | str | None:
        """``"C:\\temp"`` in double quotes, of which a ``.env`` file makes a tab and ``emp``."""
        if re.search(r"[\x00-\x1f]", str(value)):
            raise ValueError("holds a tab or another control character: write the path in .env without quotes")
        return value

    @field_validator("data_dir", "ssl_certfile", "ssl_keyfile", "accounts", "log_file")
    @classmethod
    def _at_home(cls, value: Path | None) -> Path | None:
        """``~`` is the home folder in a ``.env`` file too, where no shell says so."""
        return value and Path(os.path.expanduser(value))  # pathlib's raises where there is no such person

    @field_validator("data_dir")
    @classmethod
    def _short_enough(cls, value: Path) -> Path:
        """SQLite opens no file with a longer path, and Windows hardly any."""
        if len(os.fsencode(os.path.abspath(value))) > LONGEST_PATH:
            raise ValueError(f"is too long: the history cannot be opened there; at most {LONGEST_PATH} bytes")
        return value

    @field_validator("host")
    @classmethod
    def _plain_address(cls, value: str) -> str:
        """``[::1]`` as in an address bar, and an IPv4 address in IPv6's clothes, which cannot be listened on."""
        bare = value.strip().removeprefix("[").removesuffix("]")
        return str(_mapped(bare) or bare)

    @field_validator("root_path")
    @classmethod
    def _path_of_a_proxy(cls, value: str) -> str:
        """``svd/`` becomes ``/svd``: a name that Git Bash on Windows cannot take for a folder is understood too."""
        origin, path = re.fullmatch(r"(https?://[^/\s?#]+)?(.*)", value.strip(), re.IGNORECASE).groups()  # type: ignore[union-attr]
        path = path.strip("/")
        if path and not re.fullmatch(r"(?!\.)[\w.~-]+(/(?!\.)[\w.~-]+)*", path, re.ASCII):
            raise ValueError(
                "must be a path such as /svd (in Git Bash: svd), or an address such as https://example.org/svd"
            )
        return (origin or "") + (f"/{path}" if path else "")

    @field_validator("allowed_hosts")
    @classmethod
    def _names_of_hosts(cls, value: str) -> str:
        """``https://Example.org:8443/`` is a name too, ``*`` alone would let every name in."""
        names = [re.sub(r"^https?://|/.*$", "", name.strip().lower()) for name in value.split(",") if name.strip()]
        for name in names:
            if not re.fullmatch(r"(\*\.)?[\w-]+(\.[\w-]+)*(:\d+)?|\[[0-9a-f:.]+\](:\d+)?", name, re.ASCII):
                raise ValueError(f"{name} is not the name of a host: write example.org, or *.example.org")
        return ",".join(names)

    @field_validator("database")
    @classmethod
    def _address_of_a_database(cls, value: SecretStr) -> SecretStr:
        """What it holds is not repeated: a password may be in it."""
        if value.get_secret_value() and not re.match(r"postgres(ql)?://", value.get_secret_value()):
            raise ValueError("must be postgresql://user:password@host/name")
        return value

    @field_validator("devices")
    @classmethod
    def _devices_that_work_together(cls, value: str) -> str:
        """What cannot work is refused here: a worker would tell it only when it starts."""
        entries = [[_device(part) for part in entry.split("+")] for entry in value.split(",") if entry.strip()]
        for pair in entries:
            said = "+".join(pair)
            if "auto" in pair and len(entries) + len(pair) > 2:
                raise ValueError("auto means all GPUs: write it alone")
            if len(pair) > 2 or "" in pair:
                raise ValueError(f"{said} is not a pair of devices: write two, such as cuda:0+cuda:1")
            if len({name.partition(":")[0] for name in pair}) > 1:
                raise ValueError(f"{said}: one clip can be made on two devices of one kind only")
            if len(pair) == 2 and pair[0] == pair[1] != "cpu":
                raise ValueError(f"{said} names one device twice, which is slower than once")
        return value

    @field_validator("auth")
    @classmethod
    def _user_and_password(cls, value: SecretStr) -> SecretStr:
        """A password that is not understood must not leave the page open."""
        user, _, password = value.get_secret_value().partition(":")
        if value.get_secret_value() and not (user and password):
            raise ValueError("must be user:password")
        return value

    @property
    def device_entries(self) -> tuple[str, ...]:
        """What ``devices`` names, one entry for each worker: ``cuda:0``, or ``cuda:0+cuda:1`` for two that make one clip.

        Each device once, where it is named first; ``auto`` stands for itself, and so does nothing.
        """
        return _entries(self.devices)[0]

    @property
    def repeated_devices(self) -> tuple[str, ...]:
        """Entries of ``devices`` that are left out, since a device makes one clip at a time."""
        return _entries(self.devices)[1]

    @property
    def assets_dir(self) -> Path:
        return self.data_dir / "assets"

    @property
    def jobs_dir(self) -> Path:
        return self.data_dir / "jobs"

    @property
    def models_dir(self) -> Path:
        return self.data_dir / "models"

    @property
    def training_dir(self) -> Path:
        """One folder for each fine-tuning run, and what was computed from its clips."""
        return self.data_dir / "training"

    @property
    def logs_dir(self) -> Path:
        """What workers print; a folder for each machine where several share the data folder."""
        return self.data_dir / "logs" / (platform.node() if self.is_shared else "")

    @property
    def measured_file(self) -> Path:
        """What was measured on this machine's devices, kept between starts."""
        return self.data_dir / "measured.json"

    @property
    def compiled_dir(self) -> Path:
        """torch.compile's cache, so that a second start compiles nothing."""
        return self.data_dir / "compiled"

    @property
    def history_file(self) -> Path:
        """The queue and the history, where ``database`` names no other place."""
        return self.data_dir / "svd_ui.sqlite3"

    @property
    def is_shared(self) -> bool:
        """Whether the queue and the history are in a PostgreSQL that other pages may use as well."""
        return bool(self.database.get_secret_value())

    @property
    def is_public(self) -> bool:
        """Whether others than this machine can reach the page."""
        return self.share or self.public or not is_loopback(self.host)

    @property
    def accounts_file(self) -> Path:
        return self.accounts or self.data_dir / "accounts.json"

    @cached_property
    def has_accounts(self) -> bool:
        """Whether people log in by accounts, decided once: a page that asks nobody cannot begin to. A file that was named and is
        gone leaves it closed.
        """
        return self.accounts is not None or self.accounts_file.is_file()

    @property
    def has_login(self) -> bool:
        return self.credentials is not None or self.has_accounts

    @cached_property
    def credentials(self) -> tuple[str, str] | None:
        """``auth`` split at its first colon, or None."""
        user, _, password = self.auth.get_secret_value().partition(":")
        return (user, password) if user and password else None


def usable(**overrides: Any) -> tuple[Settings, dict[str, str]]:
    """The settings, and which could not be followed: variable => why. Those are as if they had not been given."""
    faults: dict[str, str] = {}
    try:
        return Settings(**overrides), faults
    except UnicodeError:
        faults[".env"] = "it is not UTF-8 text: save it as UTF-8"
        overrides["_env_file"] = None
    except ValidationError as error:
        for fault in error.errors():
            name = str(fault["loc"][0])
            faults[f"SVD_UI_{name.upper()}"] = fault["msg"].removeprefix("Value error, ")
            default = Settings.model_fields[name].default
            overrides[name] = "" if default is PydanticUndefined else default
    settings, more = usable(**overrides)
    return settings, faults | more


def env_values() -> dict[str, str]:
    """Every variable that could be a setting, as it is spelt => where it was given: ``environment`` or ``.env``."""
    path, found = Settings.model_config.get("env_file"), {}
    with suppress(OSError, UnicodeError):
        if path and Path(str(path)).is_file():
            found = dict.fromkeys(dotenv_values(str(path), encoding="utf-8-sig"), ".env")
    return {**found, **dict.fromkeys(os.environ, "environment")}


def _entries(devices: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(entries that get a worker, those that name a device once more)."""
    kept: list[str] = []
    again: list[str] = []
    used: set[str] = set()
    for entry in devices.split(","):
        pair = [name for part in entry.split("+") if (name := _device(part))]
        if pair:
            (again if used & {*pair} else kept).append("+".join(pair))
            used |= {*pair}
    return tuple(kept) or ("auto",), tuple(again)


def _device(name: str) -> str:
    """A device as it is called everywhere: the first card is ``cuda:0``."""
    name = name.strip().lower()
    return "cuda:0" if name == "cuda" else name


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine alone: localhost, 127.0.0.0/8, ::1, or one of these as an IPv6 address."""
    if host.lower() == "localhost":
        return True
    try:
        return (_mapped(host) or ipaddress.ip_address(host.partition("%")[0])).is_loopback
    except ValueError:
        return False


def _mapped(host: str) -> ipaddress.IPv4Address | None:
    """``127.0.0.1`` of ``::ffff:127.0.0.1``."""
    try:
        return ipaddress.IPv6Address(host).ipv4_mapped
    except ValueError:
        return None
