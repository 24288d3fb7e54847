from decimal import Decimal

import pytest

from evals.asking import Request
from evals.dataset import Dataset, sample_digest, whole_digest
from evals.estimate import BYTES_PER_TOKEN, estimate, quote
from evals.schema import Sample
from gateway.contracts.errors import InputError
from gateway.contracts.prices import PriceBook
from tests.evals.bench import dataset


def of(*samples: Sample) -> Dataset:
    digests = {sample.id: sample_digest(sample) for sample in samples}
    return Dataset(dataset(0).path, samples, digests, whole_digest(digests))


def test_counts_are_of_the_whole_run() -> None:
    found = estimate(dataset(10), Request("m", {"max_tokens": 50}, epochs=3, baseline="n", limit=4))
    assert (found.samples, found.epochs, found.arms, found.requests) == (4, 3, 2, 24)
    assert found.most_output_tokens == 24 * 50


def test_without_a_limit_nobody_knows_the_output() -> None:
    assert estimate(dataset(1), Request("m", {})).most_output_tokens is None


def test_input_is_by_bytes_and_grows_with_the_text() -> None:
    short, long = (of(Sample(id="a", input="é" * count)) for count in (10, 2010))
    request = Request("m", {})
    grown = estimate(long, request).input_tokens - estimate(short, request).input_tokens
    assert grown == 2000 * 2 / BYTES_PER_TOKEN


BOOK = PriceBook.model_validate(
    {
        "version": "v1",
        "currency": "USD",
        "models": {"m": {"input": "2", "output": "10"}, "n": {"input": "4", "output": "8"}},
    }
)


def test_a_quote_is_by_each_arms_price() -> None:
    request = Request("m@2", {"max_tokens": 50}, baseline="n@1")
    found = estimate(dataset(10), request)
    quoted = quote(found, request, BOOK, 0.0)
    each = Decimal(found.input_tokens // 2)
    assert quoted.input == each * 2 / 10**6 + each * 4 / 10**6
    assert quoted.most == quoted.input + Decimal(10 * 50) * (10 + 8) / 10**6
    assert (quoted.currency, quoted.version) == ("USD", "v1")


def test_without_a_limit_the_most_is_not_known() -> None:
    request = Request("m", {})
    assert quote(estimate(dataset(1), request), request, BOOK, 0.0).most is None


def test_a_model_without_a_price_is_named() -> None:
    request = Request("other@1", {})
    with pytest.raises(InputError, match=r"no price for 'other' today: it has m, n"):
        quote(estimate(dataset(1), request), request, BOOK, 0.0)


def test_each_turn_sends_the_ones_before_it_again() -> None:
    request = Request("m", {"max_tokens": 100})
    first = estimate(of(Sample(id="a", input="q")), request).input_tokens
    found = estimate(of(Sample(id="a", input="q", follow_ups=["four", "four"])), request)
    assert found.requests == 3
    assert found.input_tokens == 3 * first + (101) + (101 + 101)
