"""What was promoted last is what is found, one release for each model."""

import pytest
import sqlalchemy as sa

from gateway.stores.database import open_database
from gateway.stores.releases import ReleaseStore
from tests.gateway.builders import NOW


@pytest.fixture
def store(engine: sa.Engine) -> ReleaseStore:
    return ReleaseStore(engine)


def test_nothing_is_promoted_at_first(store: ReleaseStore) -> None:
    assert store.promoted() == {}


def test_the_last_promotion_counts_and_models_are_apart(store: ReleaseStore) -> None:
    store.promote("faq", "faq@1", "d1", NOW)
    store.promote("shop", "shop@1", "s1", NOW)
    store.promote("faq", "faq@2", "d2", NOW + 1)
    assert store.promoted() == {"faq": ("faq@2", "d2"), "shop": ("shop@1", "s1")}
    store.promote("faq", "faq@1", "d1", NOW + 2)
    assert store.promoted()["faq"] == ("faq@1", "d1")


def test_another_process_sees_it(store: ReleaseStore, url: str) -> None:
    other = open_database(url)
    ReleaseStore(other).promote("faq", "faq@1", "d1", NOW)
    assert store.promoted() == {"faq": ("faq@1", "d1")}
    other.dispose()
