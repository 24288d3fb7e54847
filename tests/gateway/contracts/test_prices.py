"""Money is exact: Decimal in, Decimal out, rounded once, never a float and never a silent zero."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.contracts import prices
from gateway.contracts.errors import DocumentError, PriceMissing
from gateway.contracts.prices import PLACES, UNPRICED, Price, PriceBook
from gateway.contracts.usage import MOST, Usage

AMOUNT = st.decimals(min_value=0, max_value=10_000, places=3, allow_nan=False)
TOKENS = st.integers(0, 10_000_000)
USAGE = st.builds(Usage, TOKENS, TOKENS, st.none() | TOKENS, st.none() | TOKENS)
NOW = datetime(2026, 11, 25, tzinfo=UTC).timestamp()


def _book(**more: Any) -> PriceBook:
    models = {"support": {"input": "0.20", "cached_input": "0.02", "output": "0.60"}, "scratch": "unpriced"}
    return PriceBook.model_validate({"version": "v1", "models": models, **more})


def _exact(price: Price, usage: Usage) -> Fraction:
    cached = min(usage.cached_tokens or 0, usage.input_tokens)
    cached_price = price.input if price.cached_input is None else price.cached_input
    thought = min(usage.reasoning_tokens or 0, usage.output_tokens)
    rates = [
        (usage.input_tokens - cached, price.input),
        (cached, cached_price),
        (usage.output_tokens - thought, price.output),
        (thought, price.output if price.reasoning is None else price.reasoning),
    ]
    return sum((Fraction(tokens) * Fraction(rate) / 1_000_000 for tokens, rate in rates), Fraction(0))


@given(
    input_price=AMOUNT,
    output=AMOUNT,
    cached_price=st.none() | AMOUNT,
    reasoning=st.none() | AMOUNT,
    usage=USAGE,
)
def test_a_cost_is_exact(
    input_price: Decimal, output: Decimal, cached_price: Decimal | None, reasoning: Decimal | None, usage: Usage
) -> None:
    price = Price(input=input_price, output=output, cached_input=cached_price, reasoning=reasoning)
    cost = price.cost(usage)
    # Three places of price over a million tokens are nine places of cost: nothing is left to round.
    assert Fraction(cost) == _exact(price, usage)
    assert cost.as_tuple().exponent == PLACES.as_tuple().exponent


@given(usage=USAGE, rate=st.decimals(0, 1, places=12))
def test_a_cost_is_rounded_once(usage: Usage, rate: Decimal) -> None:
    price = Price(input=rate, output=rate, cached_input=rate / 3, reasoning=rate / 7)
    exact = _exact(price, usage)
    with localcontext() as context:
        context.prec = 100
        expected = (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(PLACES, ROUND_HALF_EVEN)
    assert price.cost(usage) == expected
    assert abs(Fraction(price.cost(usage)) - exact) <= Fraction(PLACES) / 2


def test_the_largest_cost_has_room() -> None:
    """A billion tokens at the dearest price, with every digit that a price may have."""
    price = Price(input=Decimal(1_000_000), output=Decimal(1_000_000))
    assert price.cost(Usage(10**9, 10**9)) == Decimal(2 * 10**9)
    fine = Price(input=Decimal("999999.999999999"), output=Decimal("0.000000001"))
    assert fine.cost(Usage(10**9, 10**6)) == Decimal("999999999.999999000") + Decimal("0.000000001")


@given(input_tokens=st.integers(0, 1000), more=st.integers(0, 1000))
def test_cached_tokens_beyond_the_input_cost_no_less_than_all_cached(input_tokens: int, more: int) -> None:
    price = Price(input=Decimal("0.20"), output=Decimal("0.60"), cached_input=Decimal("0.02"))
    over = price.cost(Usage(input_tokens, 0, input_tokens + more))
    assert over == price.cost(Usage(input_tokens, 0, input_tokens)) >= 0


def test_unknown_cached_tokens_cost_as_input() -> None:
    price = _book().models["support"]
    assert isinstance(price, Price)
    assert price.cost(Usage(1_000_000, 0, None)) == Decimal("0.20")
    assert price.cost(Usage(1_000_000, 0, 1_000_000)) == Decimal("0.02")
    assert price.cost(Usage(0, 1_000_000)) == Decimal("0.60")


def test_cached_input_costs_as_input_unless_the_file_says_otherwise() -> None:
    price = Price(input=Decimal(3), output=Decimal(0))
    assert price.cost(Usage(2_000_000, 0, 1_000_000)) == Decimal(6)


def test_reasoning_costs_as_output_unless_the_file_says_otherwise() -> None:
    plain = Price(input=Decimal(0), output=Decimal(2))
    dear = Price(input=Decimal(0), output=Decimal(2), reasoning=Decimal(5))
    assert plain.cost(Usage(0, 1_000_000, None, 400_000)) == Decimal(2)
    assert dear.cost(Usage(0, 1_000_000, None, 400_000)) == Decimal("3.2")
    assert dear.cost(Usage(0, 1_000_000)) == Decimal(2), "nobody counted them"
    assert dear.cost(Usage(0, 10, None, 20)) == dear.cost(Usage(0, 10, None, 10)), "no more than were written"


@given(rates=st.tuples(AMOUNT, AMOUNT, st.none() | AMOUNT, st.none() | AMOUNT), usage=USAGE)
def test_no_request_costs_more_than_the_most_that_it_can(
    rates: tuple[Decimal, Decimal, Decimal | None, Decimal | None], usage: Usage
) -> None:
    price = Price(input=rates[0], output=rates[1], cached_input=rates[2], reasoning=rates[3])
    assert price.cost(usage) <= price.most(usage.input_tokens, usage.output_tokens)


def test_the_most_is_rounded_up() -> None:
    price = Price(input=Decimal("0.0001"), output=Decimal(0))
    assert (price.cost(Usage(1, 0)), price.most(1, 0)) == (0, PLACES)


@pytest.mark.parametrize("amount", [0.2, 1.0, float("nan")])
def test_float_money_is_refused(amount: float) -> None:
    with pytest.raises(ValidationError, match="in quotes"):
        Price.model_validate({"input": amount, "output": "1"})


def test_float_money_in_a_file_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text('version: "1"\nmodels:\n  faq:\n    input: 0.20\n    output: "0.60"\n')
    with pytest.raises(DocumentError) as caught:
        prices.load(path)
    (mistake,) = caught.value.mistakes
    assert (mistake.line, mistake.key) == (4, "models.faq.input")
    assert "in quotes" in mistake.message


@pytest.mark.parametrize("amount", ["", "x", "NaN", "Infinity", "-1", "1000001", "1,5", True, None, [], {}])
def test_what_is_no_amount_is_refused(amount: Any) -> None:
    with pytest.raises(ValidationError):
        Price.model_validate({"input": amount, "output": "1"})


@pytest.mark.parametrize("amount", ["0", 0, 3, "0.000001", Decimal("2.5"), "1e-3", "1000000"])
def test_whole_numbers_text_and_decimals_are_amounts(amount: Any) -> None:
    assert Price.model_validate({"input": amount, "output": "1"}).input == Decimal(str(amount))


def test_an_unlisted_model_is_an_error_and_not_free() -> None:
    _book().require(["support", "scratch"])
    with pytest.raises(PriceMissing, match=r"'v1' has no price for 'a', 'b'.*`unpriced`"):
        _book().require(["b", "support", "a"])


def test_no_price_is_none_and_not_zero() -> None:
    book = _book()
    assert book.cost("support", Usage(1_000_000, 0), NOW) == Decimal("0.20")
    assert book.cost("support", Usage(0, 0), NOW) == 0
    assert book.cost("support", None, NOW) is None
    assert book.cost("scratch", Usage(1, 1), NOW) is None
    assert book.cost("nobody", Usage(1, 1), NOW) is None
    assert UNPRICED.cost("support", Usage(1, 1), NOW) is None
    with pytest.raises(PriceMissing):
        UNPRICED.require(["support"])


@pytest.mark.parametrize("currency", ["usd", "US", "USDT", ""])
def test_a_currency_is_three_capitals(currency: str) -> None:
    with pytest.raises(ValidationError):
        _book(currency=currency)


def test_a_price_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    lines = [line for line in (prices.__doc__ or "").splitlines()[2:] if line]
    path.write_text("\n".join(lines))
    book = prices.load(path)
    assert (book.version, book.currency, book.models["scratch"]) == ("2026-11-01", "USD", "unpriced")
    assert book.cost("support", Usage(10, 5, 4), NOW) == Decimal("0.000004280")


def test_a_typo_in_a_price_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text('version: "1"\nmodels:\n  faq:\n    input: "1"\n    output: "1"\n    cached_inptu: "1"\n')
    with pytest.raises(DocumentError, match=r"line 6, models\.faq\.cached_inptu: .*did you mean 'cached_input'"):
        prices.load(path)


def test_a_word_that_is_not_unpriced_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text('version: "1"\nmodels:\n  faq: free\n')
    with pytest.raises(DocumentError, match="line 3"):
        prices.load(path)


def test_the_largest_counts_at_the_dearest_price_cost_what_a_ledger_holds() -> None:
    dearest = Price(input=Decimal(1_000_000), output=Decimal(1_000_000))
    assert dearest.cost(Usage(MOST, MOST)) / PLACES < 2**63
