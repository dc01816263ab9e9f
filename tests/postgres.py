"""A real PostgreSQL of the tests' own: on a socket in a temporary folder, as somebody it agrees to run as."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from tests.browser import required

ON_POSTGRES = os.environ.get("SVD_UI_TEST_STORE") == "postgresql"
"""Whether tests that do not say which database they mean use PostgreSQL."""
SECONDS = 60.0
CONFIGURATION = """
listen_addresses = ''
unix_socket_directories = '{socket}'
max_connections = 200
shared_buffers = 16MB
fsync = off
full_page_writes = off
synchronous_commit = off
autovacuum = off
jit = off
"""
NUMBERS = count(1)


def program(name: str) -> str | None:
    """Debian keeps them where no path leads, a folder for each release."""
    found = shutil.which(name) or max(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), default=None)
    if found is None and required("POSTGRES"):
        raise RuntimeError("There is no PostgreSQL, and CI or SVD_UI_REQUIRE_POSTGRES forbids to skip its tests.")
    return found


def packages() -> bool:
    try:
        import alembic  # noqa: F401
        import psycopg  # noqa: F401
        import sqlalchemy  # noqa: F401
    except ImportError:
        if required("POSTGRES"):
            raise
        return False
    return True


class Server:
    """Started at once. ``stop`` and ``start`` are what an administrator would do."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._data = folder, folder / "data"
        self._somebody = _somebody()
        if self._somebody:
            shutil.chown(folder, *self._somebody)
        self._run("initdb", "-D", str(self._data), "-U", "svd", "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(CONFIGURATION.format(socket=folder))
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [program("postgres") or "", "-D", str(self._data)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **self._user())
        end = time.monotonic() + SECONDS
        while True:
            try:
                self._connect().close()
                return
            except Exception:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.02)

    def stop(self) -> None:
        """At once, whoever is connected."""
        if self._process is not None:
            self._process.send_signal(2)
            self._process.wait(SECONDS)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def address(self, name: str, user: str = "svd") -> str:
        return f"postgresql://{user}:s3cret@/{name}?host={self.folder}"

    def new(self) -> str:
        """The address of a database that nobody has used."""
        name = f"t{next(NUMBERS)}"
        self.run(f"CREATE DATABASE {name}")
        return self.address(name)

    def durable(self) -> None:
        """As people run it: what was said to be kept survives a power cut."""
        for name in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum"):
            self.run(f"ALTER SYSTEM SET {name} = on")
        self.stop()
        self.start()

    @contextmanager
    def asking_for_passwords(self) -> Iterator[None]:
        """It trusts nobody for a while."""
        file = self._data / "pg_hba.conf"
        text = file.read_text()
        self.run("ALTER USER svd PASSWORD 'another'")
        try:
            self.stop()
            file.write_text("local postgres all trust\nlocal all all scram-sha-256\n")
            self.start()
            yield
        finally:
            self.stop()
            file.write_text(text)
            self.start()

    def run(self, sql: str) -> None:
        with closing(self._connect()) as connection:
            connection.execute(sql)

    def _connect(self) -> Any:
        import psycopg

        return psycopg.connect(host=str(self.folder), user="svd", dbname="postgres", autocommit=True)

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run(
            [program(name) or "", *arguments], check=True, capture_output=True, cwd=self.folder, **self._user()
        )

    def _user(self) -> dict[str, Any]:
        if not self._somebody:
            return {}
        user, group = self._somebody
        return {"user": user, "group": group, "extra_groups": []}


def _somebody() -> tuple[int, int] | None:
    """(user, group) to run as where the tests are root's, which PostgreSQL refuses."""
    if os.getuid() != 0:
        return None
    import pwd

    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return found.pw_uid, found.pw_gid
    raise RuntimeError("PostgreSQL does not run as root, and there is nobody else.")


@cache
def server() -> Server | None:
    """The one of this run; None where there is no PostgreSQL: its tests are skipped then."""
    if not hasattr(os, "getuid") or not packages() or program("initdb") is None:
        return None
    found = Server(Path(tempfile.mkdtemp(prefix="svd-ui-postgres-")))
    atexit.register(found.remove)
    return found
