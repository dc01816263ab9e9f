"""Several pages on one PostgreSQL: every job once, in fair order, whatever the server or a page does; and moving there and back."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from svd_ui.errors import BadInput, HistoryNewer, HistoryRefused, HistoryUnreachable, NotFound, QueueFull, SvdUiError
from svd_ui.jobs.copying import Copying
from svd_ui.jobs.database import MIGRATIONS, Database
from svd_ui.jobs.leases import LEASE_SECONDS, Lease, live, total_slots
from svd_ui.jobs.postgres import PostgresDatabase, named, translated
from svd_ui.jobs.queue import CLIPS
from svd_ui.jobs.recovery import recover
from svd_ui.jobs.service import JobService, open_store, server_alive
from svd_ui.jobs.sqlite import SqliteDatabase
from svd_ui.jobs.store import NEXT, TAKE, Store, open_database
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.fakes import FakeEngine
from tests.jobs.conftest import Serve, ended, until
from tests.postgres import Server

Open = Callable[[], Database]
BOTH = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])


@pytest.fixture
def shared(postgres: Server, settings: Settings) -> Settings:
    """A page's settings on a new PostgreSQL database."""
    return settings.model_copy(update={"database": SecretStr(postgres.new()), "max_queue": 1000})


@pytest.fixture
def opened(request: pytest.FixtureRequest, settings: Settings, kind: str) -> Iterator[Open]:
    """Opens the same database again and again, as several pages do."""
    here = settings.model_copy(update={"database": SecretStr("")}) if kind == "sqlite" else None
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(open_database(here or request.getfixturevalue("shared"))))


def add(store: Store, request: GenerationRequest, count: int, owners: str = "a") -> None:
    for number in range(count):
        owner = owners[number % len(owners)]
        store.add(f"{number:032x}", owner, "clip", request)


@BOTH
def test_claims_at_once_take_each_job_once_and_in_order(opened: Open, request_: GenerationRequest, kind: str) -> None:
    stores = [Store(opened()) for _ in range(2)]
    jobs = 200 if kind == "postgresql" else 40
    add(stores[0], request_, jobs, "aabc")
    taken: list[list[Any]] = [[] for _ in range(8)]

    def work(slot: int) -> None:
        while (row := stores[slot % 2].claim(f"page-{slot % 2}", CLIPS)) is not None:
            taken[slot].append(row)
            stores[slot % 2].settle(row["id"], f"page-{slot % 2}", state="finished")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert sorted(row["number"] for rows in taken for row in rows) == list(range(1, jobs + 1))
    for rows in taken:
        for owner in "abc":
            numbers = [row["number"] for row in rows if row["owner"] == owner]
            assert numbers == sorted(numbers)


def test_claims_under_way_leave_the_order_fair(shared: Settings, request_: GenerationRequest) -> None:
    """Each of these has taken its job, and none has said so yet: what is taken is no longer next, and counts."""
    with closing(open_database(shared)) as database, ExitStack() as under_way:
        add(Store(database), request_, 9, "aaaaabbca")
        asked = {"kinds": json.dumps(CLIPS), "owner": None, "but": "[]"}
        owners = []
        for _ in range(9):
            sql = under_way.enter_context(database.write(alone=False))
            head = sql.execute(NEXT + database.skip_locked, asked).fetchone()
            sql.execute(TAKE, ("page", 1.0, 1.0, 1.0, head["number"]))
            owners.append(sql.execute("SELECT owner FROM jobs WHERE number = ?", (head["number"],)).fetchone()["owner"])
        assert "".join(owners) == "abcabaaaa"
        assert Store(database).claim("late", CLIPS) is None


@BOTH
def test_no_more_wait_than_may(opened: Open, request_: GenerationRequest, kind: str) -> None:
    stores = [Store(opened()) for _ in range(2)]

    def submit(number: int) -> bool:
        try:
            stores[number % 2].add(f"{number:032x}", "a", "clip", request_, max_queue=5)
        except QueueFull:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(submit, range(20))) == 5


@BOTH
def test_moves_and_pauses_at_once_leave_one_order(opened: Open, request_: GenerationRequest, kind: str) -> None:
    stores = [Store(opened()) for _ in range(2)]
    add(stores[0], request_, 12, "ab")

    def move(number: int) -> None:
        stores[number % 2].waitlist.move(f"{number:032x}", "first")
        stores[number % 2].waitlist.pause(number % 2 == 0)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(move, range(12)))
    places = [(row["turn"], row["rank"]) for row in stores[0].queue(CLIPS)]
    assert len(set(places)) == 12
    assert [row["position"] for row in stores[1].queue(CLIPS)] == list(range(12))
    stores[0].waitlist.pause(False)
    with pytest.raises(NotFound):
        stores[0].waitlist.move("nothing", "first")


@BOTH
def test_a_job_that_ends_while_others_put_it_back_ends_once(
    opened: Open, request_: GenerationRequest, kind: str
) -> None:
    stores = [Store(opened()) for _ in range(3)]
    add(stores[0], request_, 30)
    rows = [stores[0].claim("gone", CLIPS) for _ in range(30)]

    def settle(row: Any) -> None:
        stores[0].settle(row["id"], "gone", state="finished", ended=1.0)

    def reap(store: Store) -> None:
        for row in rows:
            store.waitlist.put_back("gone", row["id"] if row else None)

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(reap, store) for store in stores[1:]] + [pool.submit(lambda: [settle(r) for r in rows])]
        for future in futures:
            future.result()
    states = {row["id"]: row["state"] for row in stores[0].history(None, 100, None)}
    assert set(states.values()) <= {"finished", "queued"}
    while (row := stores[1].claim("next", CLIPS)) is not None:
        assert states[row["id"]] == "queued"


def test_a_page_that_stalls_with_a_job_in_its_hand_holds_no_other_up(
    shared: Settings, request_: GenerationRequest
) -> None:
    with closing(open_database(shared)) as stalled, closing(open_database(shared)) as other:
        add(Store(other), request_, 2)
        with stalled.write(alone=False) as sql:
            sql.execute("SELECT * FROM jobs WHERE number = 1 FOR UPDATE")
            row = Store(other).claim("other", CLIPS)
        assert row is not None
        assert row["id"] == f"{1:032x}"


def test_two_pages_that_start_together_make_the_tables_once(shared: Settings) -> None:
    with ThreadPoolExecutor(4) as pool:
        databases = list(pool.map(lambda _: open_database(shared), range(4)))
    assert [row["version_num"] for row in databases[0].read("SELECT version_num FROM alembic_version")] == [
        f"{len(MIGRATIONS):03}"
    ]
    for database in databases:
        database.close()


def test_a_database_of_a_newer_release_is_refused_and_left_as_it_is(shared: Settings) -> None:
    with closing(open_database(shared)) as database, database.write() as sql:
        sql.execute("UPDATE alembic_version SET version_num = '999'")
    with pytest.raises(HistoryNewer, match="SVD_UI_DATABASE"):
        open_store(shared)
    assert not server_alive(shared)


def test_a_page_with_another_data_folder_is_refused_until_it_is_adopted(shared: Settings, tmp_path: Path) -> None:
    open_store(shared).close()
    elsewhere = shared.model_copy(update={"data_dir": tmp_path / "not mounted"})
    with pytest.raises(HistoryRefused, match="store adopt") as caught:
        open_store(elsewhere)
    assert "s3cret" not in str(caught.value)
    assert not elsewhere.data_dir.exists()
    PostgresDatabase(shared.database.get_secret_value(), elsewhere.data_dir, "adopt").close()
    open_store(elsewhere).close()


@pytest.mark.parametrize(
    ("address", "kind", "said"),
    [
        ("postgresql://svd:s3cret@/nothing?host={folder}", HistoryRefused, "no database of that name"),
        ("postgresql://who:s3cret@/postgres?host={folder}", HistoryRefused, "does not know the user"),
        ("postgresql://svd:s3cret@/svd?host={folder}/nowhere", HistoryUnreachable, "does not answer"),
        ("postgresql://svd:s3cret@127.0.0.1:1/svd", HistoryUnreachable, "Start it, or correct SVD_UI_DATABASE"),
        ("postgresql://svd:s3cret@host:port/svd", BadInput, "is no address such as postgresql://host/name"),
        ("postgresql://svd:s3cret@host", BadInput, "names no database"),
    ],
)
def test_what_keeps_a_page_out_is_one_sentence_without_the_password(
    postgres: Server, tmp_path: Path, address: str, kind: type[SvdUiError], said: str
) -> None:
    with pytest.raises(kind, match=said) as caught:
        PostgresDatabase(address.format(folder=postgres.folder), tmp_path)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_who_waits_too_long_for_another_page_may_try_again(shared: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("svd_ui.jobs.postgres.LIMITS", "-c lock_timeout=100ms")
    with closing(open_database(shared)) as one, closing(open_database(shared)) as other, one.write():
        with pytest.raises(HistoryUnreachable, match="Try again in a moment") as caught, other.write():
            pass
        with other.write(alone=False) as sql:
            sql.execute("DELETE FROM queue_state WHERE name = 'paused'")
    assert shared.database.get_secret_value().split("=")[1] not in str(caught.value)


def test_a_statement_that_the_server_does_not_take_names_no_address(
    postgres: Server, shared: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(open_database(shared)) as database, pytest.raises(HistoryRefused) as caught:
        database.read("SELECT nothing FROM jobs")
    assert str(postgres.folder) not in str(caught.value)
    assert str(postgres.folder) in caplog.text, "the operator is told"


def test_a_wrong_password_is_said_to_be_one(postgres: Server, shared: Settings) -> None:
    assert "s3cret" not in repr(shared) + str(shared.model_dump())
    with postgres.asking_for_passwords(), pytest.raises(HistoryRefused, match="refused the user or the password"):
        open_database(shared)


def test_a_clip_is_made_and_all_about_the_queue_works_there(
    shared: Settings, serve: Serve, request_: GenerationRequest
) -> None:
    gate = threading.Event()
    service = serve(FakeEngine(steps=2, delay=0.0, gate=gate, settings=shared), shared)
    other = serve(FakeEngine(steps=2, delay=0.0, gate=gate, settings=shared), shared)
    jobs = [service.submit(request_, "a", name="a\0b") for _ in range(4)]
    until(lambda: {service.get(job.id).state for job in jobs[:2]} == {"conditioning"})
    assert total_slots(service._database) == 2
    assert server_alive(shared)
    service.queue.move(jobs[3].id, "first")
    assert [other.get(job.id).position for job in jobs[2:]] == [1, 0]
    service.queue.edit(jobs[2].id, request_.model_copy(update={"seed": 99}))
    other.cancel(jobs[3].id)
    gate.set()
    assert [ended(other, job).state for job in jobs] == ["finished", "finished", "finished", "cancelled"]
    assert other.get(jobs[2].id).request.seed == 99
    assert service.retry(jobs[3].id, "a").name == ""
    assert other.estimate(request_).basis == "measured"
    service.delete(jobs[0].id)
    other._housekeeping.purge(time.time() + 1)
    assert not (shared.jobs_dir / jobs[0].id).exists()


def test_a_server_that_restarts_in_the_middle_of_a_job_costs_nothing(
    postgres: Server, shared: Settings, serve: Serve, request_: GenerationRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    gates = [threading.Event(), threading.Event()]
    engines = [FakeEngine(steps=3, delay=0.0, gate=gate) for gate in gates]
    services = [serve(engine, shared, lease_seconds=2.0) for engine in engines]
    running = [services[0].submit(request_, "a") for _ in range(2)]
    waiting = services[0].submit(request_, "a")
    until(lambda: all(services[0].get(job.id).state == "conditioning" for job in running))
    postgres.stop()
    try:
        with pytest.raises(HistoryUnreachable):
            services[1].get(running[0].id)
        gates[0].set()  # one ends while nobody can be told
        until(lambda: "could not be recorded yet" in caplog.text)
    finally:
        postgres.start()
    gates[1].set()
    assert [ended(services[1], job).state for job in [*running, waiting]] == ["finished"] * 3
    assert sum(len(engine.calls) for engine in engines) == 3, "what was made is not made again"
    said = [record for record in caplog.records if "does not answer (" in record.message]
    assert len(said) == len(services)
    assert not [record for record in caplog.records if record.exc_info]
    assert len(caplog.records) <= 12, [record.message for record in caplog.records]


def test_a_claim_whose_answer_was_lost_is_given_back(
    shared: Settings, request_: GenerationRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was made, but the connection broke before anybody here heard of it."""
    with closing(open_database(shared)) as database:
        store = Store(database)
        add(store, request_, 1)
        write = database.write

        class Breaking:
            def __enter__(self) -> Any:
                self.inner = write(alone=False)
                return self.inner.__enter__()

            def __exit__(self, *error: Any) -> None:
                self.inner.__exit__(*error)
                raise HistoryUnreachable(path="db", detail="gone")

        with monkeypatch.context() as patch:
            patch.setattr(database, "write", lambda alone=True: Breaking())
            with pytest.raises(HistoryUnreachable):
                store.claim("page", CLIPS)
        assert store.waiting(CLIPS) == 0
        row = store.claim("page", CLIPS)
        assert row is not None
        assert row["state"] == "loading"
        assert not store.unsure
        assert store.claim("page", CLIPS) is None


@BOTH
def test_pages_whose_clocks_differ_see_each_other(opened: Open, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine an hour behind is neither dead nor blind."""
    ours, theirs = opened(), opened()
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    Lease(theirs, "server", lambda: 3).beat()
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    assert live(ours) == [()]
    assert total_slots(ours) == 3


@BOTH
def test_nobody_is_taken_for_dead_after_a_time_in_which_nothing_could_be_seen(
    opened: Open, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage the first page that reads would take all others' jobs."""
    now = [1000.0]
    monkeypatch.setattr("svd_ui.jobs.leases.time.monotonic", lambda: now[0])
    monkeypatch.setattr("svd_ui.jobs.leases.host", lambda: "elsewhere")
    database = opened()
    other, lease = Lease(database, "server"), Lease(database, "server")
    other.beat()
    assert lease.expired() == []
    now[0] += 10 * LEASE_SECONDS
    assert lease.expired() == []
    for _ in range(9):
        now[0] += LEASE_SECONDS / 8
        seen = lease.expired()
    assert seen == [other.id]


def test_a_history_moves_there_and_back_and_stays_the_same(
    postgres: Server, settings: Settings, request_: GenerationRequest
) -> None:
    here = settings.model_copy(update={"database": SecretStr("")})
    with JobService(here, FakeEngine(steps=1, delay=0.0, settings=here)) as service:
        service.start()
        made = ended(service, service.submit(request_, "ann"))
        service.queue.pause()
        waiting = [service.submit(request_, owner, name=owner) for owner in "aab"]
        service.queue.move(waiting[1].id, "first")
        with pytest.raises(BadInput, match="stop it first"):
            Copying(here, str(here.history_file), postgres.new()).run()
    with closing(SqliteDatabase(here.history_file)) as database:
        before = [dict(row) for row in database.read("SELECT * FROM jobs ORDER BY number")]
        with database.write() as sql:
            sql.execute("UPDATE timings SET samples = 'abc' WHERE key = (SELECT MIN(key) FROM timings)")
        damaged = len(database.read("SELECT key FROM timings WHERE samples = 'abc'"))
    address = postgres.new()
    there = here.model_copy(update={"database": SecretStr(address)})
    looked = Copying(here, f"sqlite:///{here.history_file}", address)
    looked.look()
    assert looked.counts["jobs"] == 4
    moved = Copying(here, str(here.data_dir), address)
    moved.run()
    assert (moved.counts, moved.damaged) == (looked.counts, damaged)
    with open_store(there) as store:
        assert [dict(row) for row in store._database.read("SELECT * FROM jobs ORDER BY number")] == before
        assert store.queue.paused
        assert [job.name for job in store.queue.jobs()] == ["a", "a", "b"]
        assert store.queue.jobs()[0].id == waiting[1].id
        assert store.get(made.id).result == made.result
        assert store._store.row(store.submit(request_, "new").id)["number"] == before[-1]["number"] + 1
    with pytest.raises(BadInput, match="not empty"):
        Copying(here, str(here.history_file), address).run()
    back = here.data_dir / "back.sqlite3"
    Copying(there, address, f"sqlite:///{back}").run()
    with closing(SqliteDatabase(back)) as database:
        assert [dict(row) for row in database.read("SELECT * FROM jobs ORDER BY number")][:4] == before
    recovered = recover(there)  # nothing is lost there, so that nothing comes back
    assert (recovered.jobs, recovered.kept) == (0, None)


def test_statements_are_translated_in_one_place() -> None:
    pytest.importorskip("sqlalchemy")
    sql = "SELECT 1 FROM jobs WHERE id = ? AND kind IN (SELECT value FROM json_each(?))"
    assert str(translated(sql)).endswith("json_array_elements_text(CAST(:p1 AS json)))")
    assert named(("a\0b", 2)) == {"p0": "a\ufffdb", "p1": 2}


def test_a_missing_package_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sqlalchemy", None)
    with pytest.raises(HistoryRefused, match="sqlalchemy is not installed. Run: python -m pip install"):
        PostgresDatabase("postgresql://localhost/svd", tmp_path)
