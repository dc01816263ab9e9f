"""Settings of the installation, from the environment (prefix ``SVD_UI_``) or a ``.env`` file."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

REPOSITORY = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Every variable the app reads. ``doctor`` lists them from these fields."""

    # A blank variable means "not set". What was given is not repeated in errors: it may be a password.
    model_config = SettingsConfigDict(
        env_prefix="SVD_UI_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 shows the page to the network.")
    port: int = Field(7860, ge=1, le=65535, description="First port to try; the next free one is taken.")
    data_dir: Path = Field(
        Path(platformdirs.user_data_dir("svd-ui", appauthor=False)),
        description="Where jobs, pictures and clips are kept.",
    )
    checkpoint: str = Field("auto", description="Default checkpoint; auto is the best one present.")
    checkpoint_dirs: str = Field("", description="More folders with diffusers checkpoints, separated like PATH.")
    profile: str = Field("auto", description="Default memory profile.")
    devices: str = Field("auto", description="Devices to use, comma separated: cuda:0, cuda:1, mps, cpu.")
    attention: str = Field("auto", description="auto (the fastest, measured), sdpa, xformers or flash.")
    number_format: Literal["auto", "float16", "bfloat16", "float32"] = Field(
        "auto", description="What the model computes in; auto suits the device and widens where it overflows."
    )
    exact: bool = Field(True, description="The exact speed-ups; false runs diffusers' own layers, to compare.")
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="torch.compile on CUDA; auto does it when several clips are queued."
    )
    text_to_image: str = Field(
        "stabilityai/sd-turbo", description="Repository or folder that makes stills from prompts."
    )
    plugins: Literal["on", "off"] = Field(
        "on", description="Control methods, post steps and checkpoints of other packages."
    )
    auth: SecretStr = Field(SecretStr(""), description="user:password asked before the page is shown.")
    share: bool = Field(False, description="Ask gradio for a public link.")
    idle_seconds: int = Field(600, ge=0, description="Free device memory after this long without work; 0 keeps it.")
    max_queue: int = Field(64, ge=1, le=10_000, description="Jobs waiting at once, all visitors together.")
    max_upload_mb: int = Field(50, ge=1, le=500, description="Largest file accepted.")
    max_pixels: int = Field(64_000_000, ge=1_000_000, description="Largest picture accepted, in pixels.")
    max_seconds: int = Field(3600, ge=1, description="Longest time one job may run.")

    @field_validator("data_dir", mode="after")
    @classmethod
    def _at_home(cls, value: Path) -> Path:
        """``~`` is the home folder in a ``.env`` file too, where no shell says so."""
        return value.expanduser()

    @field_validator("auth")
    @classmethod
    def _user_and_password(cls, value: SecretStr) -> SecretStr:
        """A password that is not understood must not leave the page open."""
        user, _, password = value.get_secret_value().partition(":")
        if value.get_secret_value() and not (user and password):
            raise ValueError("must be user:password")
        return value

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
    def measured_file(self) -> Path:
        """What was measured on this machine's devices, kept between starts."""
        return self.data_dir / "measured.json"

    @property
    def compiled_dir(self) -> Path:
        """torch.compile's cache, so that a second start compiles nothing."""
        return self.data_dir / "compiled"

    @property
    def database(self) -> Path:
        return self.data_dir / "svd_ui.sqlite3"

    @property
    def is_public(self) -> bool:
        """Whether others than this machine can reach the page."""
        return self.share or self.host not in {"127.0.0.1", "localhost", "::1"}

    @cached_property
    def credentials(self) -> tuple[str, str] | None:
        """``auth`` split at its first colon, or None."""
        user, _, password = self.auth.get_secret_value().partition(":")
        return (user, password) if user and password else None
