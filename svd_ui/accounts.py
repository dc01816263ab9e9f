"""People who may log in, by name: what they may do, and their passwords as argon2 hashes.

One JSON file, ``{"version": 1, "accounts": {name: {"role": ..., "hash": ...}}}``, written by ``python -m svd_ui accounts`` and
read again when it changes: who was removed is out at once.
"""

from __future__ import annotations

import json
import re
import secrets
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from .errors import BadInput
from .media import atomic
from .settings import Settings

Role = Literal["operator", "user"]
ROLES: tuple[str, ...] = get_args(Role)
NAME = re.compile(r"[\w.@-]{1,64}")
SHORTEST = 10
"""Letters of a password that is set here."""


class Accounts:
    """``path`` need not exist: nobody has an account then. Raises BadInput where it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] | None = None
        self._known: dict[str, dict[str, str]] = {}

    def all(self) -> dict[str, Role]:
        """Name => role."""
        return {name: _role(entry) for name, entry in self._read().items()}

    def role(self, name: str | None) -> Role | None:
        entry = self._read().get(name or "")
        return None if entry is None else _role(entry)

    def hash(self, name: str) -> str | None:
        """What is kept of the password of ``name``: another one after each ``add``. None where there is no such account."""
        entry = self._read().get(name)
        return entry["hash"] if entry else None

    def check(self, name: str, password: str) -> bool:
        """Whether this is the password of ``name``; an unknown name takes as long to refuse as a wrong password."""
        from argon2 import PasswordHasher
        from argon2.exceptions import InvalidHashError, VerificationError

        entry = self._read().get(name)
        try:
            return PasswordHasher().verify(entry["hash"] if entry else _nobody(), password) and entry is not None
        except (VerificationError, InvalidHashError):
            return False

    def add(self, name: str, role: str, password: str) -> None:
        """Make an account, or give the one of that name another role and password. Raises BadInput."""
        from argon2 import PasswordHasher

        if not NAME.fullmatch(name):
            raise BadInput("A name has up to 64 letters, digits and . _ @ -", field="name")
        if role not in ROLES:
            raise BadInput(f"A role is one of: {', '.join(ROLES)}.", field="role")
        if len(password) < SHORTEST:
            raise BadInput(f"A password has at least {SHORTEST} letters.", field="password")
        self._write({**self._read(), name: {"role": role, "hash": PasswordHasher().hash(password)}})

    def remove(self, name: str) -> None:
        known = dict(self._read())
        if known.pop(name, None) is None:
            raise BadInput(f"There is no account {name}.", field="name")
        self._write(known)

    def _write(self, known: dict[str, dict[str, str]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(self.path) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_text(json.dumps({"version": 1, "accounts": known}, indent=2), "utf-8")

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            stat = self.path.stat()
        except OSError:
            return {}
        seen = (stat.st_mtime_ns, stat.st_size)
        if seen != self._seen:
            self._known, self._seen = _parsed(self.path), seen
        return self._known


def require_accounts(settings: Settings) -> None:
    """Raises BadInput where there is to be a login by accounts and nobody could log in."""
    if settings.has_accounts and settings.credentials is None and not Accounts(settings.accounts_file).all():
        raise BadInput(
            f"SVD_UI_ACCOUNTS: there is no account in {settings.accounts_file}, so nobody could log in. "
            "Add one: python -m svd_ui accounts add NAME --role operator"
        )


def _parsed(path: Path) -> dict[str, dict[str, str]]:
    try:
        known: Any = json.loads(path.read_text("utf-8"))["accounts"]
        return {str(name): {"role": str(entry["role"]), "hash": str(entry["hash"])} for name, entry in known.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(
            f"SVD_UI_ACCOUNTS: {path} cannot be read as accounts. Restore a copy, or remove the file and add them again."
        ) from error


def _role(entry: dict[str, str]) -> Role:
    """What a newer release may call otherwise gives no rights."""
    return "operator" if entry["role"] == "operator" else "user"


@cache
def _nobody() -> str:
    """A hash that no password has, made with the parameters of the others."""
    from argon2 import PasswordHasher

    return PasswordHasher().hash(secrets.token_urlsafe(32))
