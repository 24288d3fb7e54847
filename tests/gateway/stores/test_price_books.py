"""A version stands for one content, whoever uses it first."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.contracts.errors import InputError
from gateway.contracts.prices import UNPRICED, PriceBook
from gateway.stores.database import open_database
from gateway.stores.price_books import BookVersion, PriceBooks
from tests.gateway.builders import NOW


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 't.db'}"


@pytest.fixture
def books(url: str) -> Iterator[PriceBooks]:
    engine = open_database(url)
    yield PriceBooks(engine)
    engine.dispose()


def book(version: str = "1", amount: str = "0.20", **more: Any) -> PriceBook:
    """A price book of one model."""
    models = {"faq": {"input": amount, "output": "1"}}
    return PriceBook.model_validate({"version": version, "models": models, **more})


def test_a_book_is_registered_once(books: PriceBooks) -> None:
    assert books.versions() == []
    for moment in (NOW, NOW + 1):
        books.register(book(), moment)
    books.register(book(amount="0.2000"), NOW + 2)
    assert books.versions() == [BookVersion("1", book().digest(), NOW)]


def test_several_versions_are_valid_beside_each_other(books: PriceBooks) -> None:
    for version, moment in (("b", NOW), ("a", NOW), ("0", NOW + 1)):
        books.register(book(version, version if version == "0" else "1"), moment)
    assert [each.version for each in books.versions()] == ["a", "b", "0"]


@pytest.mark.parametrize("other", [book(amount="0.21"), book(currency="EUR")])
def test_the_same_version_with_other_prices_is_refused_with_what_to_do(books: PriceBooks, other: PriceBook) -> None:
    books.register(book(), NOW)
    with pytest.raises(InputError, match=r"'1' for other prices.*give the changed file a new `version`"):
        books.register(other, NOW + 1)
    assert books.versions() == [BookVersion("1", book().digest(), NOW)]
    books.register(book(), NOW + 2)


def test_another_gateway_on_the_database_is_refused_too(books: PriceBooks, url: str) -> None:
    books.register(book(), NOW)
    other = open_database(url)
    with pytest.raises(InputError, match="'1' for other prices"):
        PriceBooks(other).register(book(amount="9"), NOW)
    PriceBooks(other).register(book("2", "9"), NOW)
    assert [each.version for each in books.versions()] == ["1", "2"]
    other.dispose()


def test_where_there_are_no_prices_nothing_is_registered(books: PriceBooks) -> None:
    books.register(UNPRICED, NOW)
    assert books.versions() == []


def test_of_gateways_that_start_at_once_one_content_wins(url: str) -> None:
    engines = [open_database(url) for _ in range(4)]
    started, refused = threading.Barrier(len(engines)), []

    def start(number: int) -> None:
        started.wait()
        try:
            PriceBooks(engines[number]).register(book(amount=str(number % 2)), NOW)
        except InputError:
            refused.append(number % 2)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(len(engines))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (version,) = PriceBooks(engines[0]).versions()
    won = next(number for number in (0, 1) if book(amount=str(number)).digest() == version.digest)
    assert sorted(refused) == [1 - won] * 2
    for engine in engines:
        engine.dispose()
