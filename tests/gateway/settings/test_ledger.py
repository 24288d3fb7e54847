"""Where the ledger is kept, without its password."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.settings.ledger import LedgerConfig, anchored_database, database_url


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///t.db",
        "sqlite:////var/lib/t.db",
        "postgresql://tollgate@db/tollgate",
        "postgresql://tollgate@db:5433/tollgate?sslmode=verify-full",
        "postgresql:///tollgate?host=/run/postgresql",
        "postgresql://tollgate@[::1]:5432/tollgate",
    ],
)
def test_both_kinds_are_taken_as_they_are(url: str) -> None:
    assert database_url(url) == url


@pytest.mark.parametrize(
    "url",
    ["", "t.db", "sqlite:///", "sqlite://t.db", "SQLITE:///t.db", "mysql://h/d", "postgres://h/d", "postgresql:"],
)
def test_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected sqlite:///FILE or postgresql://USER@HOST/NAME"):
        database_url(url)


@pytest.mark.parametrize("url", ["postgresql://tollgate@db", "postgresql://tollgate@db/", "postgresql:///?host=db"])
def test_a_url_names_its_database(url: str) -> None:
    with pytest.raises(ValueError, match="no name of a database"):
        database_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://tollgate:hunter2@db/tollgate",
        "postgresql://tollgate:@db/tollgate#hunter2",
        "postgresql://tollgate@db/tollgate?password=hunter2",
        "postgresql://tollgate@db/tollgate?PASSWORD=hunter2",
        "postgresql://tollgate@db/tollgate?sslpassword=hunter2",
        "postgresql://tollgate:hunter2@db:port/tollgate",
        "postgresql://tollgate:hunter2@[db/tollgate",
        "postgresql://tollgate:hunter2/@db/tollgate",
        "postgres://tollgate:hunter2@db/tollgate",
        "mysql://tollgate:hunter2@db/tollgate",
    ],
)
def test_a_password_is_refused_and_never_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected|password") as error:
        database_url(url)
    assert "hunter2" not in str(error.value)


def test_a_relative_file_starts_from_the_configuration() -> None:
    assert anchored_database("sqlite:///t.db", Path("/etc/tollgate")) == "sqlite:////etc/tollgate/t.db"
    assert anchored_database("sqlite:////var/t.db", Path("/etc/tollgate")) == "sqlite:////var/t.db"
    assert anchored_database("postgresql://h/d", Path("/etc/tollgate")) == "postgresql://h/d"


@pytest.mark.parametrize(
    ("database", "spool", "found"),
    [
        ("sqlite:///t.db", None, None),
        ("sqlite:///t.db", "rows", "/etc/rows"),
        ("postgresql://h/d", None, "/etc/tollgate.spool"),
        ("postgresql://h/d", "rows", "/etc/rows"),
        ("postgresql://h/d", "/var/spool/tollgate", "/var/spool/tollgate"),
    ],
)
def test_the_spool_lies_where_it_is_told_or_beside_the_configuration(
    database: str, spool: str | None, found: str | None
) -> None:
    config = LedgerConfig.model_validate({"spool": spool}).anchored(Path("/etc"), database)
    assert config.spool == (None if found is None else Path(found))


@pytest.mark.parametrize(
    "wrong", [{"when_full": "drop"}, {"retention_days": 0}, {"retention_days": 1e9}, {"retention_days": float("nan")}]
)
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LedgerConfig.model_validate(wrong)
