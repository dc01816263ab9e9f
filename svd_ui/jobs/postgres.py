"""PostgreSQL as the database that several pages share: SQLAlchemy's pool over psycopg 3, and errors turned into ours.

Where SQLite lets one process write at a time, here rows are locked one by one. Only what looks at the whole queue before it
changes it is ``alone``: it holds an advisory lock until its transaction ends. A server that restarts costs the statement
under way; whoever asked tries again.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import BadInput, DiskFull, HistoryRefused, HistoryUnreachable, SvdUiError
from .database import Parameters, Row
from .postgres_schema import Opening, prepare

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, CursorResult, TextClause
    from sqlalchemy.engine import MappingResult

log = logging.getLogger(__name__)
T = TypeVar("T")
INSTALL = "python -m pip install sqlalchemy alembic 'psycopg[binary]'"
ALONE, OPENING = 7_386_001, 7_386_002
"""Keys of the advisory locks: of transactions that are alone, and of making tables and marks."""
POOL, OVERFLOW = 4, 12
"""Connections that a page keeps, and how many more it may open."""
CONNECT_SECONDS = 10
CONNECTION = {
    "application_name": "svd-ui",
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""Libpq's words: whoever is cut off by the network is known to be within half a minute."""
LIMITS = "-c lock_timeout=10s -c statement_timeout=60s -c idle_in_transaction_session_timeout=30s"
"""A page that stalls holds nobody up for long."""
ADDRESS = "postgresql+psycopg"


class PostgresDatabase:
    """A ``Database`` of a server; ``folder`` is the data folder that all its pages share."""

    for_update, skip_locked = " FOR UPDATE", " FOR UPDATE OF jobs SKIP LOCKED"
    clock = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"

    def __init__(self, address: str, folder: Path, how: Opening = "open") -> None:
        sqlalchemy = _sqlalchemy()
        url = _url(address)
        self.name, self.folder = shown(url), folder
        self._lock = threading.Lock()
        self._silent = self._open = False
        self.changes = 0
        options = " ".join(filter(None, (LIMITS, str(url.query.get("options", "")))))
        self._engine = sqlalchemy.create_engine(
            url,
            pool_size=POOL,
            max_overflow=OVERFLOW,
            pool_timeout=CONNECT_SECONDS,
            hide_parameters=True,
            connect_args={**CONNECTION, "options": options},
        )
        self._reading = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        try:
            with self._transaction(OPENING) as connection:
                prepare(connection, self.name, folder, how)
        except BaseException:
            self.close()
            raise
        self._open = True

    def read(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        clause, values = translated(sql), named(parameters)

        def ask() -> list[Row]:
            with self._reading.connect() as connection:
                return list(connection.execute(clause, values).mappings().all())

        with self._mapped():
            return _on_a_live_one(ask)

    @contextlib.contextmanager
    def write(self, alone: bool = True, *, quiet: bool = False) -> Iterator[PostgresTransaction]:
        with self._transaction(ALONE if alone else None) as connection:
            yield PostgresTransaction(connection)
        with self._lock:
            self.changes += not quiet

    @contextlib.contextmanager
    def _transaction(self, key: int | None) -> Iterator[Connection]:
        first = "SELECT 1" if key is None else f"SELECT pg_advisory_xact_lock({key})"

        def begin() -> Connection:
            connection: Connection = self._engine.connect()
            try:
                connection.exec_driver_sql(first)
            except BaseException:
                connection.close()
                raise
            return connection

        with self._mapped(), _on_a_live_one(begin) as connection:
            yield connection
            connection.commit()

    def has_tables(self) -> bool:
        return bool(self.read("SELECT to_regclass('jobs') AS jobs")[0]["jobs"])

    def close(self) -> None:
        self._engine.dispose()

    def keep_reserve(self) -> None:
        """The server's disk is its own affair."""

    def free_reserve(self) -> None:
        """See ``keep_reserve``."""

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except SvdUiError:
            raise
        except SQLAlchemyError as error:
            ours = mapped(error, self.name)
            if not self._open or isinstance(ours, DiskFull):
                raise ours from error
            if isinstance(ours, HistoryUnreachable):
                self._say(ours.params["detail"])
                raise HistoryUnreachable() from error
            log.error("%s", ours)  # visitors are not told where it is
            raise HistoryRefused(**{**ours.params, "path": "of this page"}) from error
        self._say("")

    def _say(self, why: str) -> None:
        """One sentence when the server goes, and one when it is back."""
        if bool(why) == self._silent:
            return
        with self._lock:
            changed, self._silent = bool(why) != self._silent, bool(why)
        if changed and why:
            log.warning(
                "the database %s does not answer%s: running jobs continue, and so does asking it", self.name, why
            )
        elif changed:
            log.warning("the database %s answers again", self.name)


class PostgresTransaction:
    """As ``database.Transaction`` has it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Parameters = (), /) -> PostgresAnswer:
        return PostgresAnswer(self._connection.execute(translated(sql), named(parameters)))

    def executemany(self, sql: str, parameters: Iterable[Parameters], /) -> None:
        rows = [named(row) for row in parameters]
        if rows:
            self._connection.execute(translated(sql), rows)


class PostgresAnswer:
    def __init__(self, result: CursorResult[Any]) -> None:
        self._result = result

    @property
    def rowcount(self) -> int:
        return self._result.rowcount

    @functools.cached_property
    def _rows(self) -> MappingResult:
        return self._result.mappings()

    def fetchone(self) -> Row | None:
        return self._rows.fetchone()

    def fetchall(self) -> list[Row]:
        return list(self._rows.fetchall())


def _on_a_live_one(use: Callable[[], T]) -> T:
    """``use`` a connection that the pool kept; where the server was gone meanwhile, a new one. Asking before each costs more."""
    from sqlalchemy.exc import DBAPIError

    try:
        return use()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    return use()


@functools.lru_cache(maxsize=512)
def translated(sql: str) -> TextClause:
    """A statement in SQLite's words => in PostgreSQL's."""
    from sqlalchemy import text

    places = iter(range(sql.count("?")))
    sql = re.sub(r"\?", lambda _: f":p{next(places)}", sql)
    return text(re.sub(r"json_each\((:\w+)\)", r"json_array_elements_text(CAST(\1 AS json))", sql))


def named(parameters: Parameters) -> dict[str, Any]:
    """What SQLite takes as it is: places have names there too, and a text holds no NUL."""
    if not isinstance(parameters, Mapping):
        parameters = {f"p{place}": value for place, value in enumerate(parameters)}
    return {
        name: value.replace("\0", "\ufffd") if isinstance(value, str) else value for name, value in parameters.items()
    }


def _sqlalchemy() -> Any:
    try:
        import alembic  # noqa: F401
        import psycopg  # noqa: F401
        import sqlalchemy
    except ImportError as error:
        lacks = (error.name or "a package").partition(".")[0]
        raise HistoryRefused(
            path="of SVD_UI_DATABASE", detail=f"{lacks} is not installed", remedy=f"Run: {INSTALL}"
        ) from error
    return sqlalchemy


def _url(address: str) -> URL:
    """Raises BadInput, which does not repeat the address: a password may be in it."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(re.sub(r"^\w+(?=://)", ADDRESS, address))
    except (ArgumentError, ValueError) as error:
        raise BadInput(
            "SVD_UI_DATABASE is no address such as postgresql://host/name, with user:password@ before the host."
        ) from error
    if not url.database:
        raise BadInput("SVD_UI_DATABASE names no database: write it after the host, as in postgresql://host/name.")
    return url


def shown(url: URL) -> str:
    """Where a database is, without who asks for it."""
    port = f":{url.port}" if url.port else ""
    return f"{url.host or url.query.get('host') or 'localhost'}{port}/{url.database}"


REFUSED = (
    (r"password authentication failed|no password supplied|SCRAM", "it refused the user or the password"),
    (r'role ".*" does not exist', "it does not know the user"),
    (r"no pg_hba.conf entry", "it does not let this machine in"),
    (r'database ".*" does not exist', "the server has no database of that name"),
)
PASSING = ("08", "40", "53", "55", "57")
"""Classes of errors that go by: no connection, another's transaction, too many, somebody's lock, an administrator."""
CORRECT = "Correct SVD_UI_DATABASE, or the server's accounts."
CREATE = "Make one with createdb, or correct SVD_UI_DATABASE."


def mapped(error: Exception, name: str) -> SvdUiError:
    """What the server or its client complains of, as one of ours."""
    cause = getattr(error, "orig", None) or error
    said = str(cause).strip().partition("\n")[0] or type(cause).__name__
    state = getattr(cause, "sqlstate", None) or ""
    if state == "53100":
        return DiskFull()
    if state == "42501":
        return HistoryRefused(path=name, detail="the user may not do that", remedy="Make it the owner of the database.")
    for pattern, detail in REFUSED:
        if re.search(pattern, str(cause)) and state[:2] in ("", "28", "3D"):
            return HistoryRefused(path=name, detail=detail, remedy=CREATE if "no database" in detail else CORRECT)
    gone = getattr(error, "connection_invalidated", False) or type(error).__name__ == "TimeoutError"
    if gone or state[:2] in PASSING or (not state and type(cause).__name__ == "OperationalError"):
        return HistoryUnreachable(path=name, detail=f" ({said})", remedy="Start it, or correct SVD_UI_DATABASE.")
    return HistoryRefused(path=name, detail=said, remedy="The server's log says more.")
