"""The stores of one URL belong together, and lie together."""

from pathlib import Path

import pytest

from gateway.contracts.errors import InputError
from gateway.stores.bundle import open_stores
from tests.gateway.builders import NOW, counting_bytes, settled
from tests.gateway.postgres import Postgres
from tests.gateway.serving import PRICES


def test_they_share_one_database(url: str) -> None:
    here, there = open_stores(url), open_stores(url)
    here.keys.create(name="n", team="t", scope="serve", models=None, now=NOW, ttl_s=None, random_bytes=counting_bytes())
    here.ledger.insert([settled()])
    here.releases.promote("faq", "faq@1", "d", NOW)
    here.price_books.register(PRICES, NOW)
    assert [each.version for each in there.price_books.versions()] == [PRICES.version]
    assert len(there.keys.all()) == len(there.ledger.recent(9)) == len(there.releases.promoted()) == 1
    for stores in (here, there):
        stores.database.dispose()


def test_the_spool_lies_beside_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_stores(f"sqlite:///{tmp_path / 't.db'}").spool_folder == tmp_path / "t.db.spool"
    monkeypatch.chdir(tmp_path)
    assert open_stores("sqlite:///t.db").spool_folder == Path("t.db.spool")
    assert open_stores("sqlite:///t.db", Path("rows")).spool_folder == Path("rows")


def test_the_spool_of_a_server_lies_where_the_gateway_runs(postgres: Postgres) -> None:
    stores = open_stores(postgres.url())
    assert stores.spool_folder == Path("tollgate.spool")
    stores.database.dispose()


def test_two_databases_of_one_folder_have_a_spool_each(tmp_path: Path) -> None:
    folders = {open_stores(f"sqlite:///{tmp_path / name}").spool_folder for name in ("a.db", "b.db", "a")}
    assert len(folders) == 3


@pytest.mark.parametrize("url", ["postgresql://u@127.0.0.1:1/d", "mysql://h/d", "sqlite:///", "t.db"])
def test_what_cannot_be_opened_is_an_input_error(url: str) -> None:
    with pytest.raises(InputError):
        open_stores(url)
