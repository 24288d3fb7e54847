"""What the two kinds of database do alike."""

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.contracts.errors import InputError
from gateway.stores.database import LEDGER, LIVE
from gateway.stores.dialects import (
    PASSWORD_FILE,
    STATEMENT_S,
    Asked,
    UtcDay,
    UtcHour,
    UtcMonth,
    connect,
    exclusively,
    insert,
)
from gateway.stores.ledger import Ledger
from tests.gateway.builders import settled
from tests.gateway.postgres import Postgres, running

ROOT = Path(__file__).parents[3]
WITHOUT = """
import sys
sys.modules["psycopg"] = None
from gateway.contracts.errors import InputError
from gateway.stores.dialects import connect
try:
    connect("postgresql://u@h/d")
except InputError as error:
    print(error)
"""


def test_a_file_is_in_wal_mode(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 't.db'}")
    with engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"
    engine.dispose()


def test_what_is_asked_all_the_time_says_what_stands_there_now(engine: sa.Engine) -> None:
    columns = LIVE.c
    query = sa.select(columns.release, columns.promoted_at).where(columns.model == sa.bindparam("model"))
    asked = Asked(engine, query)
    assert asked.rows("faq") == []
    values = {"release_digest": "d", "promoted_at": 1.5}
    for model in ("faq", "shop"):
        with engine.begin() as connection:
            connection.execute(sa.insert(LIVE).values(model=model, release="100 %s", **values))
        assert asked.rows("faq") == [("100 %s", 1.5)]
    assert len(Asked(engine, sa.select(LIVE)).rows()) == 2


def test_no_statement_of_postgresql_runs_for_ever(postgres: Postgres) -> None:
    url = postgres.url()
    own = connect(f"{url}?options=-c%20statement_timeout%3D5000&application_name=x")
    plain = connect(url)
    for engine, expected in ((plain, f"{STATEMENT_S}s" if STATEMENT_S % 60 else "1min"), (own, "5s")):
        with engine.connect() as connection:
            assert connection.execute(sa.text("SHOW statement_timeout")).scalar() == expected
        engine.dispose()


def test_the_server_notices_within_half_a_minute_that_a_gateway_is_gone_without_a_word(postgres: Postgres) -> None:
    """Else the locks of one whose network is cut would stay for hours."""
    engine = connect(postgres.url())
    with engine.connect() as connection:
        names = ("idle", "interval", "count")
        shown = [connection.execute(sa.text(f"SHOW tcp_keepalives_{name}")).scalar_one() for name in names]
        assert connection.execute(sa.text("SHOW tcp_user_timeout")).scalar() in {"10s", "10000"}
    idle_s, apart_s, count = (int(each) for each in shown)
    assert 0 < idle_s + apart_s * count <= 30
    engine.dispose()


def test_a_commit_is_on_disk_whatever_the_server_thinks_of_it(postgres: Postgres) -> None:
    engine = connect(postgres.url())
    with engine.connect() as connection:
        assert connection.execute(sa.text("SHOW synchronous_commit")).scalar() == "on"
        own = "SELECT setting FROM pg_file_settings WHERE name = 'synchronous_commit'"
        assert connection.execute(sa.text(own)).scalar() == "off"
    engine.dispose()


def test_a_connection_that_broke_is_replaced(postgres: Postgres) -> None:
    engine = connect(postgres.url())
    with engine.connect() as connection:
        first = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar()
    killer = connect(postgres.url())
    with killer.connect() as connection:
        connection.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": first})
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT pg_backend_pid()")).scalar() != first
    engine.dispose()
    killer.dispose()


def test_a_missing_package_is_told_with_its_extra() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert "pip install 'tollgate[postgres]'" in done.stdout


def test_a_password_is_in_no_error() -> None:
    with pytest.raises(InputError, match="PGPASSWORD") as error:
        connect("postgresql://u:hunter2@h/d")
    assert "hunter2" not in str(error.value)


def test_what_is_there_is_left_or_replaced(engine: sa.Engine) -> None:
    values = {"model": "m", "release": "m@1", "release_digest": "d", "promoted_at": 1.0}
    with engine.begin() as connection:
        for release in ("m@1", "m@2"):
            connection.execute(insert(engine, LIVE).values({**values, "release": release}).on_conflict_do_nothing())
        assert connection.execute(sa.select(LIVE.c.release)).scalar() == "m@1"
        again = insert(engine, LIVE).values(values)
        connection.execute(again.on_conflict_do_update(index_elements=["model"], set_={"release": "m@3"}))
        assert connection.execute(sa.select(LIVE.c.release)).scalar() == "m@3"


def test_one_at_a_time_does_what_others_wait_for(engine: sa.Engine) -> None:
    """Each reads and then writes one more: without the lock some of them would read the same."""

    def count(_: int) -> None:
        with engine.begin() as connection:
            exclusively(connection)
            found = connection.execute(sa.select(sa.func.count()).select_from(LIVE)).scalar()
            values = {"model": str(found), "release": "r", "release_digest": "d", "promoted_at": 1.0}
            connection.execute(sa.insert(LIVE).values(values))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(12)))
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(LIVE)).scalar() == 12


@pytest.mark.parametrize(
    ("at", "hour"),
    [
        (0.0, "1970-01-01T00"),
        (1_794_355_199.0, "2026-11-10T23"),
        (1_794_355_199.9999, "2026-11-10T23"),
        (1_794_355_200.0, "2026-11-11T00"),
        (1_709_251_199.5, "2024-02-29T23"),
        (4_102_444_800.0, "2100-01-01T00"),
    ],
)
def test_days_hours_and_months_are_utc_and_never_rounded_up(engine: sa.Engine, at: float, hour: str) -> None:
    Ledger(engine).insert([settled(started_at=at)])
    units = [unit(LEDGER.c.started_at) for unit in (UtcDay, UtcHour, UtcMonth)]
    with engine.connect() as connection:
        found = connection.execute(sa.select(*units, sa.func.count()).group_by(*units)).one()
    assert tuple(found) == (hour[:10], hour, hour[:7], 1)


def test_the_password_of_a_file_is_read_at_each_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = Path(tempfile.mkdtemp(prefix="tollgate-hba-")) / "hba.conf"
    rules.parent.chmod(0o755)
    rules.write_text("host all guarded 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n")
    secret = tmp_path / "password"
    with running({"hba_file": str(rules)}) as server:
        owner = connect(server.url())
        with owner.begin() as connection:
            connection.exec_driver_sql("CREATE ROLE guarded LOGIN PASSWORD 'first'")
        guarded = connect(server.url().replace("tollgate@", "guarded@"))
        for password in ("first", "second"):
            with owner.begin() as connection:
                connection.exec_driver_sql(f"ALTER ROLE guarded PASSWORD '{password}'")
            with pytest.raises(sa.exc.OperationalError, match="password"), guarded.connect():
                pass
            secret.write_text(f"{password}\n")
            monkeypatch.setenv(PASSWORD_FILE, str(secret))
            with guarded.connect() as connection:
                assert connection.exec_driver_sql("SELECT current_user").scalar() == "guarded"
            guarded.dispose()
        owner.dispose()
    shutil.rmtree(rules.parent)


def test_a_password_file_that_is_not_there_is_named(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_FILE, "/nowhere/password")
    with pytest.raises(InputError, match="/nowhere/password"), connect(postgres.url()).connect():
        pass
